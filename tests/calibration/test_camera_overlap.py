"""What two neighbouring cameras recorded of the same strip tells how their positions differ."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from taken_pictures import taken

from linewatch.calibration.overlap.making import OverlapView, make_overlap
from linewatch.config.calibration_part import Measured
from linewatch.config.line import LineSettings
from linewatch.contracts.across import AcrossMap
from linewatch.contracts.errors import SourceError

LINES, PICTURES = 128, 8
LEFT = LineSettings(width_px=400)
RIGHT = LineSettings(width_px=360, across_offset_mm=160.0, distortion_px=(0.0, -4.0))
AHEAD = 9.6  # lines that the right camera sees the strip later


def steel(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    size = (PICTURES * LINES + 40, 700)
    rough = cv2.GaussianBlur(rng.normal(0, 60, size).astype(np.float32), (0, 0), 1.5)
    return 110 + rough + rng.normal(0, 8, (1, size[1]))  # with stripes along the strip, as rolls leave them


def view(strip: np.ndarray, line: LineSettings, left_px: float, ahead: float, serial: str, seed: int) -> OverlapView:
    """What a camera sees of strip of 0.5 mm columns, whose column `left_px` lies where its first column should be."""
    lens = AcrossMap(left_px, 1.0, line.width_px, line.distortion_px)
    across = lens.mm(np.arange(line.width_px) + 0.5) - 0.5
    along = np.arange(PICTURES * LINES) + ahead
    grid = np.meshgrid(across.astype(np.float32), along.astype(np.float32))
    pixels = cv2.remap(strip.astype(np.float32), *grid, cv2.INTER_CUBIC)
    pixels += np.random.default_rng(seed).normal(0, 3, pixels.shape)
    pictures = pixels.clip(0, 255).astype(np.uint8).reshape(PICTURES, LINES, line.width_px)
    return OverlapView(taken(pictures, serial=serial, origin=serial), line, serial)


STRIP = steel(1)
NEIGHBOUR = view(STRIP, LEFT, 5.0, 20.0, "L", 2)
CAMERA = view(STRIP, RIGHT, 5.0 + 330.4, 20.0 - AHEAD, "R", 3)


def test_the_offsets_across_and_along_are_right_within_a_few_hundredths_of_a_pixel():
    part = make_overlap(CAMERA, NEIGHBOUR, "me", 30.0).part
    assert part.neighbour == "L"
    assert part.across_shift_mm.value == pytest.approx(0.5 * 330.4 - 160.0, abs=0.04)
    assert part.along_offset_mm.value == pytest.approx(-AHEAD, abs=0.08)
    assert part.overlap_mm == pytest.approx(200.0 - 165.2, abs=0.1)
    assert 0.008 < part.across_shift_mm.uncertainty < 0.03
    there = make_overlap(NEIGHBOUR, CAMERA, "me", 30.0).part  # and the other way round
    assert there.across_shift_mm.value == pytest.approx(-part.across_shift_mm.value, abs=0.02)
    assert there.along_offset_mm.value == pytest.approx(-part.along_offset_mm.value, abs=0.05)


@pytest.mark.heavy
def test_an_overlap_is_counted_on_from_the_neighbours_own():
    first = make_overlap(CAMERA, NEIGHBOUR, "me", 30.0).part
    beyond = first.model_copy(
        update={
            "across_shift_mm": Measured(value=2.0, uncertainty=0.1),
            "along_offset_mm": Measured(value=-3.0, uncertainty=0.1),
        }
    )
    both = make_overlap(CAMERA, NEIGHBOUR, "me", 30.0, beyond).part
    assert both.across_shift_mm.value == pytest.approx(first.across_shift_mm.value + 2.0, abs=1e-3)
    assert both.along_offset_mm.value == pytest.approx(first.along_offset_mm.value - 3.0, abs=1e-3)
    assert both.across_shift_mm.uncertainty > 0.1


@pytest.mark.heavy
def test_pictures_that_are_missing_in_one_recording_do_not_shift_the_rest():
    seen = CAMERA.taken
    kept = [0, 1, 3, 4, 6, 7]
    holed = replace(seen, pictures=seen.pictures[kept], grabs=tuple(seen.grabs[one] for one in kept))
    part = make_overlap(replace(CAMERA, taken=holed), NEIGHBOUR, "me", 30.0).part
    assert part.across_shift_mm.value == pytest.approx(5.2, abs=0.04)
    assert part.along_offset_mm.value == pytest.approx(-AHEAD, abs=0.08)


OTHER_COIL = replace(CAMERA, taken=taken(CAMERA.taken.pictures, coil="B", origin="R"))
APART = replace(CAMERA, line=RIGHT.model_copy(update={"across_offset_mm": 400.0}))
BAD = {
    "another strip": (lambda: view(steel(7), RIGHT, 5.0 + 330.4, 20.0, "R", 3), "no overlap of camera 'R' with 'L'"),
    "too far off": (lambda: view(STRIP, RIGHT, 5.0 + 200.0, 20.0, "R", 3), "no overlap of camera 'R' with 'L'"),
    "apart": (lambda: APART, "no overlap within --search-mm 30"),
    "another coil": (lambda: OTHER_COIL, "expected one coil in both"),
    "nothing to see": (
        lambda: replace(CAMERA, taken=taken(np.full((PICTURES, LINES, 360), 90, np.uint8), origin="R")),
        "no overlap of camera 'R' with 'L'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_an_overlap_that_does_not_exist_is_told(name):
    camera, said = BAD[name]
    with pytest.raises(SourceError, match=said) as caught:
        make_overlap(camera(), NEIGHBOUR, "me", 30.0)
    assert "\n" not in str(caught.value)
