"""Whole frames and their truth, read alike from every layout; what cannot be judged is named with its reason."""

from pathlib import Path

import numpy as np
import pytest
from made_frames import FRAME_LAYOUTS, LINES, WIDTH, as_coco, as_kaggle, as_masks, as_tables, gray
from made_own import put_picture
from made_pictures import REPO

from linewatch.config.line import LineSettings
from linewatch.config.taxonomy import Taxonomy
from linewatch.datasets.arguments import OwnSets
from linewatch.datasets.errors import DatasetError
from linewatch.evaluation.judging.true_frames import FrameSet, read_frame_set

TAXONOMY = Taxonomy.read(REPO / "configs" / "taxonomy.toml")


def read(root: Path | str, own: OwnSets = OwnSets()) -> FrameSet:
    return read_frame_set(str(root), own, TAXONOMY)


def pieces_of(frames: FrameSet) -> dict[str, list[tuple[str, tuple[float, float], tuple[float, float], float]]]:
    found = {}
    for one in frames.frames:
        truth = one.truth((LINES, WIDTH))
        found[Path(one.file).name] = [
            (piece.defect_class, piece.box.across_mm, piece.box.along_mm, piece.area_mm2)
            for piece in truth.defects(LineSettings(), ())
        ]
    return found


@pytest.mark.parametrize("layout", FRAME_LAYOUTS)
def test_every_layout_tells_the_same_truth(layout: str, tmp_path: Path) -> None:
    """At 0.5 mm a pixel and 1 mm a line: 40 x 100 px are 20 x 100 mm."""
    FRAME_LAYOUTS[layout](tmp_path)
    frames = read(tmp_path)
    assert frames.refused == ()
    assert pieces_of(frames) == {
        "a.png": [
            ("scratch", (50.0, 70.0), (20.0, 120.0), 2000.0),
            ("torn_spot", (250.0, 260.0), (200.0, 230.0), 300.0),
        ],
        "b.png": [],
        "c.png": [("sliver", (0.0, 150.0), (0.0, 256.0), 38400.0)],
    }
    outlined = {Path(one.file).name: one.truth((LINES, WIDTH)).outlined for one in frames.frames}
    assert outlined == {name: layout != "coco, boxes" or name == "b.png" for name in ("a.png", "b.png", "c.png")}


def test_a_label_may_be_a_class_of_the_house(tmp_path: Path) -> None:
    as_coco(tmp_path, None)
    text = (tmp_path / "annotations.json").read_text()
    (tmp_path / "annotations.json").write_text(text.replace('"name": "3"', '"name": "Torn Spot"'))
    assert {piece[0] for piece in pieces_of(read(tmp_path))["a.png"]} == {"torn_spot"}


def test_an_unknown_class_is_named_with_where_to_map_it(tmp_path: Path) -> None:
    as_coco(tmp_path, None)
    text = (tmp_path / "annotations.json").read_text()
    (tmp_path / "annotations.json").write_text(text.replace('"name": "3"', '"name": "dent"'))
    with pytest.raises(DatasetError, match=r"'dent' are neither classes of the house nor labels of \[sets.severstal\]"):
        read(tmp_path)
    with pytest.raises(DatasetError, match=r"\[sets.mill\] in configs/taxonomy.toml \(which has no such section\)"):
        read(f"mill={tmp_path}")


def test_a_value_without_a_class_in_a_mask_is_an_unknown_class(tmp_path: Path) -> None:
    as_masks(tmp_path)
    put_picture(tmp_path / "masks" / "b.png", np.full((LINES, WIDTH), 7, np.uint8))
    with pytest.raises(DatasetError, match="classes '7'"):
        read(tmp_path)


def reasons(frames: FrameSet) -> dict[str, str]:
    return {Path(one.file).name: one.reason for one in frames.refused}


def test_what_cannot_be_read_is_refused_and_the_rest_is_judged(tmp_path: Path) -> None:
    as_tables(tmp_path)
    (tmp_path / "images" / "b.png").write_bytes(b"no picture")
    put_picture(tmp_path / "masks" / "c.png", np.ones((10, 10), np.uint8))
    put_picture(tmp_path / "images" / "new.png", gray("n"))
    frames = read(tmp_path)
    assert [one.file for one in frames.frames] == ["a.png"]
    found = reasons(frames)
    assert set(found) == {"b.png", "c.png", "new.png"}
    assert "10 x 10" in found["c.png"]
    assert "no row of labels.csv names it" in found["new.png"]


def test_a_defective_frame_without_its_mask_is_refused(tmp_path: Path) -> None:
    as_tables(tmp_path)
    (tmp_path / "masks" / "c.png").unlink()
    frames = read(tmp_path)
    assert "is not there; restore it" in reasons(frames)["c.png"]


def test_a_mask_that_contradicts_its_label_is_refused(tmp_path: Path) -> None:
    as_tables(tmp_path)
    put_picture(tmp_path / "masks" / "b.png", np.ones((LINES, WIDTH), np.uint8))
    assert "labelled free of defects, but its mask shows 1" in reasons(read(tmp_path))["b.png"]


def test_runs_that_leave_the_frame_are_refused(tmp_path: Path) -> None:
    as_kaggle(tmp_path)
    with (tmp_path / "train.csv").open("a") as table:
        table.write(f"b.png,2,{LINES * WIDTH} 9\n")
    assert "runs leave an image" in reasons(read(tmp_path))["b.png"]


def test_a_frame_that_nobody_looked_at_is_no_clean_frame(tmp_path: Path) -> None:
    as_masks(tmp_path)
    (tmp_path / "masks" / "b.png").unlink()
    assert "--unmarked clean" in reasons(read(tmp_path))["b.png"]
    frames = read(tmp_path, OwnSets(unmarked="clean"))
    assert pieces_of(frames)["b.png"] == []
    assert frames.refused == ()


def test_rows_of_frames_that_are_not_there_are_noted(tmp_path: Path) -> None:
    """Kaggle's own table names 12,568 frames, of which a folder may hold a few."""
    as_kaggle(tmp_path)
    (tmp_path / "train_images" / "c.png").unlink()
    frames = read(tmp_path)
    assert [one.file for one in frames.frames] == ["a.png", "b.png"]
    assert any("not there: 1 (c.png)" in note for note in frames.notes)
    assert frames.refused == ()


def test_a_table_may_name_frames_by_another_suffix(tmp_path: Path) -> None:
    as_kaggle(tmp_path)
    table = tmp_path / "train.csv"
    table.write_text(table.read_text().replace(".png", ".jpg"))
    frames = read(tmp_path)
    assert {name: len(pieces) for name, pieces in pieces_of(frames).items()} == {"a.png": 2, "b.png": 0, "c.png": 1}
    assert any("free of defects: 1 (b.png)" in note for note in frames.notes)
