"""The coil picture shows pixels where they lie on the strip, boxes around defects and hatching where nobody looked."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from linewatch.contracts.errors import SourceError
from linewatch.contracts.verdict import StripBox
from linewatch.history.picture import LEGEND_PX, MARGIN_PX, MISSED, PALETTE, CoilPicture


def drawn(picture: CoilPicture, tmp_path: Path) -> np.ndarray:
    picture.write(tmp_path / "coil.png")
    return cv2.imread(str(tmp_path / "coil.png"))


def test_a_bright_spot_appears_at_its_strip_position(tmp_path: Path) -> None:
    picture = CoilPicture(2000.0, 800.0, px_per_mm=0.25, row_mm=1000.0)
    pixels = np.zeros((400, 1600), np.uint8)
    pixels[100:200, 400:800] = 200  # along 1300..1400 mm, across 200..400 mm
    picture.add_lines(pixels, 1200.0, 1.0)
    image = drawn(picture, tmp_path)
    second_row = LEGEND_PX + 200 + 16 + 8
    assert image[second_row + 75, MARGIN_PX + round(350 * 0.25)].min() > 150
    assert image[second_row + 20, MARGIN_PX + round(350 * 0.25)].max() == 0


def test_boxes_that_cross_rows_are_outlined_in_both(tmp_path: Path) -> None:
    picture = CoilPicture(2000.0, 800.0, px_per_mm=0.25, row_mm=1000.0)
    picture.add_found([("scratch", StripBox((100.0, 200.0), (900.0, 1100.0)))], ["scratch"])
    image = drawn(picture, tmp_path)
    coloured = (image[LEGEND_PX:] == PALETTE[0]).all(2).any(1)
    assert coloured[:200].any()
    assert coloured[224:424].any()


def test_missed_stretches_are_hatched_and_nothing_else(tmp_path: Path) -> None:
    picture = CoilPicture(1000.0, 800.0, px_per_mm=0.25)
    picture.add_missed((200.0, 400.0))
    hatched = (drawn(picture, tmp_path) == MISSED).all(2).any(0)
    columns = np.flatnonzero(hatched)
    assert columns.min() >= MARGIN_PX + 50
    assert columns.max() < MARGIN_PX + 100


def test_a_picture_that_cannot_be_written_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be written"):
        CoilPicture(100.0, 100.0).write(tmp_path / "coil.notaformat")
