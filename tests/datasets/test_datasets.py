"""Each adapter reads its set's layout, and names the file of whatever does not fit."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from made_pictures import write_table

from linewatch.datasets import HOUSE_SETS, DatasetError, Knowledge, decode_kaggle_rle, read_set
from linewatch.datasets.splits import SplitError


def test_neu_gives_labels_boxes_and_masks(made_data: Path, made_splits: Path) -> None:
    by_file = {one.file: one for one in read_set("neu", made_data, made_splits)}
    mixed = by_file["scratches_1.jpg"]
    assert mixed.labels == ("scratches", "inclusion")
    assert mixed.knowledge is Knowledge.OUTLINED
    assert mixed.mask().sum() == 120 * 20
    crazing = by_file["crazing_2.jpg"]
    assert crazing.knowledge is Knowledge.LABELLED
    assert len(crazing.boxes) == 1
    with pytest.raises(DatasetError, match=r"crazing_2.jpg: asked for a mask"):
        crazing.mask()


def test_severstal_tells_outlined_class_only_and_unlabelled_apart(made_data: Path, made_splits: Path) -> None:
    specimens = read_set("severstal", made_data, made_splits)
    kinds = {one.file: one.knowledge for one in specimens}
    assert (kinds["frame0.png"], kinds["only.jpg"], kinds["nobody.jpg"]) == (
        Knowledge.OUTLINED,
        Knowledge.CLASS_ONLY,
        Knowledge.UNLABELLED,
    )
    labels = {one.file: one.labels for one in specimens}
    assert (labels["frame0.png"], labels["only.jpg"], labels["nobody.jpg"]) == (("ok",), ("1", "3"), ())
    assert set(np.unique(next(one for one in specimens if one.file == "frame1.png").mask())) == {0, 3}


def test_xsdd_gives_gray_patches(made_data: Path, made_splits: Path) -> None:
    first = read_set("xsdd", made_data, made_splits)[0]
    assert first.gray().shape == (128, 128)
    assert first.gray().dtype == np.uint8


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("neu", "neu/images/crazing_1.jpg"),
        ("xsdd", "xsdd/images/red_iron__1.png"),
        ("severstal", "severstal/masks/frame1.png"),
        ("neu", "neu/masks/patches_2.png"),
    ],
)
def test_a_label_or_outline_without_its_file_is_named(made_data: Path, made_splits: Path, name: str, file: str) -> None:
    (made_data / file).unlink()
    with pytest.raises(DatasetError, match=f"{Path(file).name}: not there, but {name}'s tables name it"):
        read_set(name, made_data, made_splits)


@pytest.mark.parametrize(
    ("name", "file"), [("neu", "neu/images/crazing_1.jpg"), ("severstal", "severstal/unlabelled/nobody.jpg")]
)
def test_a_corrupt_picture_is_named_when_read(made_data: Path, made_splits: Path, name: str, file: str) -> None:
    (made_data / file).write_bytes(b"no picture at all")
    specimen = next(one for one in read_set(name, made_data, made_splits) if one.file == Path(file).name)
    with pytest.raises(DatasetError, match=f"{Path(file).name}: no picture: .*expected JPEG"):
        specimen.gray()


def test_a_mask_of_another_set_is_named(made_data: Path, made_splits: Path) -> None:
    frame = next(one for one in read_set("severstal", made_data, made_splits) if one.file == "frame1.png")
    assert frame.mask_path is not None
    (made_data / "neu/masks/patches_1.png").replace(frame.mask_path)
    with pytest.raises(DatasetError, match=r"frame1.png: holds value 255, expected 0 to 4"):
        frame.mask()


def test_a_table_without_its_columns_or_a_set_without_its_table_is_named(made_data: Path, made_splits: Path) -> None:
    write_table(made_data / "xsdd/labels.csv", ["file", "kind"], [["a.png", "x"]])
    with pytest.raises(DatasetError, match=r"labels.csv: expected columns file, class, found no class"):
        read_set("xsdd", made_data, made_splits)
    (made_data / "xsdd/labels.csv").unlink()
    with pytest.raises(DatasetError, match=r"no layout of xsdd; looked for labels.csv"):
        read_set("xsdd", made_data, made_splits)
    with pytest.raises(DatasetError, match=r"no adapter for a set 'kolektor'"):
        read_set("kolektor", made_data, made_splits)


def test_a_picture_outside_the_split_is_named(made_data: Path, made_splits: Path) -> None:
    shutil.copy(made_data / "xsdd/images/red_iron__1.png", made_data / "xsdd/images/new.png")
    write_table(made_data / "xsdd/labels.csv", ["file", "class"], [["new.png", "red_iron"]])
    with pytest.raises(SplitError, match=r"new.png: not in the split of xsdd"):
        read_set("xsdd", made_data, made_splits)


@pytest.mark.slow
@given(hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_run_length_code_is_read_back(mask: np.ndarray) -> None:
    flat = np.concatenate([[0], mask.T.ravel().astype(int), [0]])
    starts, stops = np.flatnonzero(np.diff(flat) == 1), np.flatnonzero(np.diff(flat) == -1)
    text = " ".join(f"{start + 1} {stop - start}" for start, stop in zip(starts, stops, strict=True))
    assert np.array_equal(decode_kaggle_rle(text, *mask.shape), mask)


@pytest.mark.parametrize("text", ["1 2 3", "one 2", "250 20", "0 4", "4 0"])
def test_run_length_code_that_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(DatasetError, match="run-length code"):
        decode_kaggle_rle(text, 16, 16)


@pytest.mark.slow
@pytest.mark.data
def test_the_real_sets_are_whole(real_data: Path) -> None:
    """Every picture and mask that the tables name is there and decodes; Severstal's masks are its run-length code."""
    counts = {}
    for name in HOUSE_SETS:
        specimens = read_set(name, real_data)
        counts[name] = len(specimens)
        for one in specimens:
            gray = one.gray()
            assert one.mask_path is None or one.mask().shape == gray.shape
    assert counts == {"neu": 1620, "xsdd": 1225, "severstal": 171}
