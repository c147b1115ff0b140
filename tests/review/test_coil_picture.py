"""The coil picture shows pixels where they lie on the strip, boxes around defects and hatching where nobody looked."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from records import record_of

from linewatch.config.line import LineSettings
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Cause, Grab
from linewatch.contracts.verdict import CoverageSpan, Quality, StripBox
from linewatch.review.coil_picture import LEGEND_PX, MARGIN_PX, MISSED, PALETTE, CoilPicture, draw_coil


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


@pytest.mark.parametrize(("coil", "head_line"), [("T", 0), ("T.2", 600)])
def test_a_coil_is_drawn_from_either_end(tmp_path: Path, coil: str, head_line: int) -> None:
    """Two coils in one run, a bright band 100 mm behind each head: from the tail, it is 100 mm before the end."""
    line = LineSettings(width_px=64, frame_lines=100, mm_per_px=1.0)
    pixels = np.full((1200, 64), 60, np.uint8)
    pixels[[*range(100, 150), *range(700, 750)]] = 220
    grabs = [
        Grab(pixels[n : n + 100], "T", n // 100, n, 100, n, float(n), 1.0, n, change_line=0 if n == 600 else None)
        for n in range(0, 1200, 100)
    ]
    missed = CoverageSpan(200, 50, (200.0, 250.0), Quality.MISSED, Cause.LOST)
    record = record_of(coil=coil, spans=(missed,), length_mm=600.0)
    bright, hatched = {}, {}
    for tail in (False, True):
        camera = _Grabs(grabs)
        draw_coil(camera, line, record, (), tmp_path / "coil.png", tail_first=tail)
        image = cv2.imread(str(tmp_path / "coil.png"))[LEGEND_PX : LEGEND_PX + 14, MARGIN_PX : MARGIN_PX + 150]
        bright[tail] = np.flatnonzero((image.min(2) > 200).all(0)).mean()
        hatched[tail] = np.flatnonzero((image == MISSED).all(2).any(0)).mean()
    assert bright[False] == pytest.approx((125 - 0.5) / 4, abs=1)
    assert bright[True] == pytest.approx((600 - 125 - 0.5) / 4, abs=1)
    assert hatched[False] == pytest.approx(225 / 4, abs=1)
    assert hatched[True] == pytest.approx((600 - 225) / 4, abs=1)


class _Grabs:
    """A camera over grabs that are there already."""

    live = False
    serial = ""

    def __init__(self, grabs: list[Grab]) -> None:
        self.grabs: int | None = len(grabs)
        self._left = iter(grabs)

    def read(self) -> Grab | None:
        return next(self._left, None)

    def stop(self) -> None: ...

    def __enter__(self) -> "_Grabs":
        return self

    def __exit__(self, *exc: object) -> None: ...


def test_a_picture_that_cannot_be_written_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"is no picture by its ending; expected \.png"):
        CoilPicture(100.0, 100.0).write(tmp_path / "coil.notaformat")
