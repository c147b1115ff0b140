"""Every set is read as its owners ship it, from small files in that layout; a folder of no known layout is named."""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from made_pictures import texture, write_table

from linewatch.datasets import ADAPTERS, DatasetError, Knowledge, LabelBox, decode_kaggle_rle, open_set
from linewatch.datasets.check import problems


def put(path: Path, lines: int = 40, width: int = 40) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), texture(len(str(path)), lines, width))
    return path


def labels_of(name: str, root: Path) -> Counter[str]:
    return Counter("+".join(one.labels) for one in open_set(name, root, splits=root).specimens)


VOC = """<annotation><object><name>{name}</name>
<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>20</xmax><ymax>30</ymax></bndbox></object></annotation>"""


def test_neu_cls_by_short_and_long_names(tmp_path: Path) -> None:
    for file in ("Cr_1.bmp", "RS_12.bmp", "scratches_3.jpg", "rolled-in_scale_7.jpg", "readme.txt.png"):
        put(tmp_path / file)
    assert labels_of("neu", tmp_path) == {"crazing": 1, "rolled-in_scale": 2, "scratches": 1}


def test_neu_det_in_both_layouts(tmp_path: Path) -> None:
    flat, kaggle = tmp_path / "flat", tmp_path / "kaggle"
    put(flat / "IMAGES" / "patches_1.jpg")
    (flat / "ANNOTATIONS").mkdir()
    (flat / "ANNOTATIONS" / "patches_1.xml").write_text(VOC.format(name="inclusion"))
    for part in ("train", "validation"):
        put(kaggle / part / "images" / "patches" / f"patches_{len(part)}.jpg")
        (kaggle / part / "annotations").mkdir()
        (kaggle / part / "annotations" / f"patches_{len(part)}.xml").write_text(VOC.format(name="patches"))
    (one,) = open_set("neu", flat, splits=tmp_path).specimens
    assert one.labels == ("patches", "inclusion")
    assert one.boxes == (LabelBox("inclusion", 2, 3, 20, 30),)
    assert labels_of("neu", kaggle) == {"patches": 2}
    (flat / "ANNOTATIONS" / "patches_1.xml").write_text("<annotation>")
    with pytest.raises(DatasetError, match=r"patches_1.xml: expected a Pascal VOC"):
        open_set("neu", flat, splits=tmp_path)


def encode(mask: np.ndarray) -> str:
    flat = np.concatenate([[0], mask.T.ravel(), [0]])
    edges = np.flatnonzero(np.diff(flat))
    return " ".join(f"{start + 1} {stop - start}" for start, stop in zip(edges[::2], edges[1::2], strict=True))


@settings(max_examples=30)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 1)))
def test_run_lengths_are_the_mask_that_they_were_made_of(mask: np.ndarray) -> None:
    assert np.array_equal(decode_kaggle_rle(encode(mask), *mask.shape), mask > 0)


def test_severstal_as_kaggle_ships_it(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        put(tmp_path / "train_images" / name, 32, 64)
    put(tmp_path / "test_images" / "t.jpg", 32, 64)
    first, second = np.zeros((32, 64), np.uint8), np.zeros((32, 64), np.uint8)
    first[4:9, 10:20] = second[20:30, 40:60] = 1
    rows = [["a.jpg", 1, encode(first)], ["a.jpg", 4, encode(second)], ["b.jpg", 3, encode(first)]]
    write_table(tmp_path / "train.csv", ["ImageId", "ClassId", "EncodedPixels"], rows)
    data = open_set("severstal", tmp_path, splits=tmp_path)
    by_file = {one.file: one for one in data.specimens}
    assert [by_file[f].labels for f in ("a.jpg", "b.jpg", "c.jpg", "t.jpg")] == [("1", "4"), ("3",), ("ok",), ()]
    assert np.array_equal(by_file["a.jpg"].mask(), first + 4 * second)
    assert not by_file["c.jpg"].mask().any()
    assert by_file["t.jpg"].knowledge is Knowledge.UNLABELLED
    write_table(
        tmp_path / "train.csv", ["ImageId_ClassId", "EncodedPixels"], [["a.jpg_2", encode(first)], ["b.jpg_1", ""]]
    )
    assert labels_of("severstal", tmp_path) == {"2": 1, "ok": 2, "": 1}


def test_xsdd_folders_whatever_their_spelling(tmp_path: Path) -> None:
    put(tmp_path / "red iron" / "1.jpg")
    put(tmp_path / "Surface_Scratch" / "2.jpg")
    assert labels_of("xsdd", tmp_path) == {"red_iron": 1, "surface_scratch": 1}


def test_magnetic_tiles_with_masks_and_one_group_per_tile(tmp_path: Path) -> None:
    for exposure in (1, 2):
        put(tmp_path / "MT_Blowhole" / "Imgs" / f"exp{exposure}_num_108719.jpg")
        put(tmp_path / "MT_Blowhole" / "Imgs" / f"exp{exposure}_num_108719.png")
    put(tmp_path / "MT_Free" / "Imgs" / "exp1_num_5.jpg")
    data = open_set("magnetic_tile", tmp_path, splits=tmp_path)
    assert [(one.labels, one.group) for one in data.specimens] == [(("blowhole",), "108719")] * 2 + [(("free",), "5")]
    assert all(one.mask_path is not None and one.mask_path.suffix == ".png" for one in data.specimens)


def test_elpv_above_zero_is_defective(tmp_path: Path) -> None:
    for number in range(1, 4):
        put(tmp_path / "images" / f"cell000{number}.png")
    (tmp_path / "labels.csv").write_text(
        "images/cell0001.png  1.0  mono\nimages/cell0002.png  0.3333333333333333  poly\nimages/cell0003.png  0.0 mono\n"
    )
    assert labels_of("elpv", tmp_path) == {"defective": 2, "ok": 1}
    (tmp_path / "labels.csv").write_text("images/cell0001.png  2.0  mono\n")
    with pytest.raises(DatasetError, match=r"cell0001.png has probability '2.0', expected 0 to 1"):
        open_set("elpv", tmp_path, splits=tmp_path)


def test_gc10_numbers_are_classes_and_a_recording_is_a_group(tmp_path: Path) -> None:
    put(tmp_path / "1" / "img_02_425508300_00018.jpg")
    put(tmp_path / "10" / "img_03_1_00002.jpg")
    (tmp_path / "lable").mkdir()
    (tmp_path / "lable" / "img_02_425508300_00018.xml").write_text(VOC.format(name="7_yiwu"))
    first, last = open_set("gc10", tmp_path, splits=tmp_path).specimens
    assert first.labels == ("punching_hole", "inclusion")
    assert first.group == "img_02_425508300"
    assert last.labels == ("waist_folding",)


def test_casting_sdnet_and_itodd(tmp_path: Path) -> None:
    put(tmp_path / "casting" / "casting_data" / "train" / "def_front" / "a.jpeg")
    put(tmp_path / "casting" / "casting_data" / "test" / "ok_front" / "b.jpeg")
    assert labels_of("casting", tmp_path / "casting") == {"defective": 1, "ok": 1}
    put(tmp_path / "sdnet" / "D" / "CD" / "7001-115.jpg")
    put(tmp_path / "sdnet" / "W" / "UW" / "7001-3.jpg")
    put(tmp_path / "sdnet" / "D" / "UD" / "7001-4.jpg")
    assert labels_of("sdnet2018", tmp_path / "sdnet") == {"cracked": 1, "ok": 2}
    groups = {one.file: one.group for one in open_set("sdnet2018", tmp_path / "sdnet", splits=tmp_path).specimens}
    assert groups["D/CD/7001-115.jpg"] == groups["D/UD/7001-4.jpg"] != groups["W/UW/7001-3.jpg"]
    put(tmp_path / "itodd" / "planar_bracket" / "1.png")
    put(tmp_path / "itodd" / "one_of_the_other_18" / "1.png")
    assert labels_of("itodd", tmp_path / "itodd") == {"planar_bracket": 1}


def test_a_set_of_ones_own_in_both_layouts(tmp_path: Path) -> None:
    put(tmp_path / "folders" / "dent" / "2.png")
    put(tmp_path / "folders" / "dent" / "10.png")
    put(tmp_path / "folders" / "clean" / "1.png")
    data = open_set("mymill", tmp_path / "folders")
    assert data.labels == ("clean", "dent")
    assert [one.file for one in data.specimens] == ["clean/1.png", "dent/2.png", "dent/10.png"]
    (tmp_path / "folders" / "empty").mkdir()
    with pytest.raises(DatasetError, match="empty: a class without an image"):
        open_set("mymill", tmp_path / "folders")


@pytest.mark.parametrize("name", [*ADAPTERS, "mymill"])
def test_a_folder_of_no_known_layout_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(DatasetError, match=r"looked for .*; found notes.txt"):
        open_set(name, tmp_path)
    with pytest.raises(DatasetError, match="no such folder"):
        open_set(name, tmp_path / "nowhere")


def test_a_label_that_is_not_the_sets_is_named(tmp_path: Path) -> None:
    put(tmp_path / "images" / "a.png")
    write_table(tmp_path / "labels.csv", ["file", "class"], [["a.png", "rust"]])
    with pytest.raises(DatasetError, match="labels rust, expected crazing"):
        open_set("neu", tmp_path, splits=tmp_path)


def test_every_problem_is_named_at_once_with_its_file(tmp_path: Path) -> None:
    for name in ("good", "cut", "unlabelled", "big_mask", "no_mask", "box"):
        put(tmp_path / "images" / f"{name}_1.jpg")
    (tmp_path / "images" / "cut_1.jpg").write_bytes((tmp_path / "images" / "cut_1.jpg").read_bytes()[:40])
    put(tmp_path / "masks" / "good_1.png")
    put(tmp_path / "masks" / "big_mask_1.png", 50, 50)
    put(tmp_path / "masks" / "cut_1.png")
    put(tmp_path / "masks" / "gone_1.png")
    rows = [[f"{n}_1.jpg", "scratches"] for n in ("good", "good", "cut", "gone", "big_mask", "no_mask")]
    write_table(tmp_path / "labels.csv", ["file", "class"], [*rows, ["box_1.jpg", "crazing"]])
    write_table(
        tmp_path / "boxes.csv",
        ["file", "class", "xmin", "ymin", "xmax", "ymax"],
        [["box_1.jpg", "crazing", 5, 5, 99, 20]],
    )
    found = problems(open_set("neu", tmp_path, splits=tmp_path))
    told = {(one.path.name, one.text.split(";")[0]) for one in found}
    assert ("good_1.jpg", "named 2 times") in told
    assert any(name == "cut_1.jpg" and "JPEG" in text for name, text in told)
    assert ("gone_1.jpg", "a label names it, but it is not there") in told
    assert ("unlabelled_1.jpg", "this image has no label") in told
    assert ("big_mask_1.png", "a mask of 50 x 50 for an image of 40 x 40") in told
    assert ("no_mask_1.png", "the mask of no_mask_1.jpg is not there") in told
    assert ("box_1.jpg", "box crazing (5, 5, 99, 20) leaves the image, 40 x 40") in told
    assert (tmp_path.name, "class inclusion has no image") in told
    assert not {name for name, _ in told} & {"good_1.png"}


@pytest.mark.parametrize("code", ["1 99999", "0 4", "5", "a b", "3 -1"])
def test_run_lengths_that_leave_the_frame_are_named_with_it(code: str, tmp_path: Path) -> None:
    put(tmp_path / "train_images" / "a.jpg", 32, 64)
    write_table(tmp_path / "train.csv", ["ImageId", "ClassId", "EncodedPixels"], [["a.jpg", 1, code]])
    found = [one for one in problems(open_set("severstal", tmp_path, splits=tmp_path)) if "run-length" in one.text]
    assert [one.path.name for one in found] == ["a.jpg"]


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", ["neu", "xsdd", "severstal", "magnetic_tile", "elpv"])
def test_the_real_sets_have_no_problem(name: str, real_data: Path) -> None:
    assert problems(open_set(name, real_data / name)) == []


def test_gc10_in_folders_of_the_classes_names(tmp_path: Path) -> None:
    put(tmp_path / "oil_spot" / "oil_1.jpeg")
    put(tmp_path / "crease" / "crease_1.jpeg")
    assert labels_of("gc10", tmp_path) == {"oil_spot": 1, "crease": 1}
