"""The located Severstal frames: masks where there are any, boxes elsewhere, and the committed split."""

import csv
import gzip
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_pictures import texture, write_table

from linewatch.datasets import DatasetError, Knowledge, open_set
from linewatch.training.samples.labelled_frames import SPLIT, UNKNOWN, Folds, LabelledFrame, TruePiece, read_frames


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sets: a clean frame, one with a mask, one with boxes alone, and one of two classes with boxes alone."""
    tables = {
        "severstal/labels.csv": ("images", {"0002cc93b.jpg": "1", "0025bde0c.jpg": "ok"}),
        "severstal/class_only.csv": ("class_only", {"000000b0e.jpg": "3", "000000two.jpg": "3+4"}),
        "severstal_more/labels.csv": ("images", {"00031f466.png": "ok", "0002cc93b.png": "1"}),
    }
    for table, (folder, files) in tables.items():
        place = (tmp_path / table).parent / folder
        place.mkdir(parents=True, exist_ok=True)
        for file in files:
            assert cv2.imwrite(str(place / file), texture(len(file), 256, 1600))
        write_table(tmp_path / table, ["file", "defect_classes"], [list(row) for row in files.items()])
    mask = np.zeros((256, 1600), np.uint8)
    mask[10:30, 50:90] = 1
    (tmp_path / "severstal/masks").mkdir()
    assert cv2.imwrite(str(tmp_path / "severstal/masks/0002cc93b.png"), mask)
    with gzip.open(tmp_path / "severstal_more/boxes_all_defective.csv.gz", "wt", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["ImageId", "boxes_y1x1y2x2"])
        writer.writerows([[name, "[[20, 30, 39, 59]]"] for name in ("000000b0e.jpg", "000000two.jpg")])
    return tmp_path


def test_frames_come_with_masks_or_boxes_and_never_without_a_class(root: Path) -> None:
    """The table's first frame of a name counts; a box is half-open; boxes of several classes tell nothing."""
    found = {one.file: one for one in open_set("severstal_frames", root).specimens}
    assert list(found) == ["000000b0e.jpg", "0002cc93b.jpg", "00031f466.png", "0025bde0c.jpg"]
    assert [one.knowledge for one in found.values()] == [Knowledge.CLASS_ONLY, *3 * [Knowledge.OUTLINED]]
    assert not found["0025bde0c.jpg"].mask().any()
    frames = {one.name: one for one in read_frames(root)}
    boxed, outlined = frames["000000b0e"], frames["0002cc93b"]
    assert boxed.pieces == (TruePiece(2, 30, 20, 60, 40),)
    assert (boxed.mask == UNKNOWN).sum() == 20 * 30
    assert outlined.pieces == (TruePiece(0, 50, 10, 90, 30),)
    assert (boxed.outlined, outlined.outlined, frames["00031f466"].clean) == (False, True, True)


def test_a_set_that_is_not_there_is_named(root: Path) -> None:
    (root / "severstal_more" / "labels.csv").unlink()
    with pytest.raises(DatasetError, match=r"looked for severstal/ and severstal_more/"):
        open_set("severstal_frames", root)


def test_the_committed_split_divides_no_group() -> None:
    """Each group stands in one fold, and every fold has about as many frames as another."""
    folds = Folds.read(SPLIT)
    of_group: dict[int, set[int]] = {}
    for name, group in folds.group.items():
        of_group.setdefault(group, set()).add(folds.fold[name])
    assert all(len(one) == 1 for one in of_group.values())
    sizes = np.bincount(list(folds.fold.values()))
    assert len(sizes) == 5
    assert sizes.max() <= 1.2 * sizes.min()


def test_every_located_frame_is_in_the_split(real_data: Path) -> None:
    frames: list[LabelledFrame] = read_frames(real_data)
    assert {one.name for one in frames} == set(Folds.read().fold)
    assert len(frames) == 178
