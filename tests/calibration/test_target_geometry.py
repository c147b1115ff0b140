"""A target of known pitch tells where columns lie across, through a lens that distorts, to a tenth of a millimetre."""

import re

import numpy as np
import pytest
from known_strip import instances, predict, run
from optics import LENS_2_PERCENT, frames, seen, target
from taken_pictures import taken

from linewatch.calibration.geometry.making import MadeGeometry, make_geometry
from linewatch.calibration.geometry.printed import printed_target
from linewatch.config.line import LineSettings
from linewatch.contracts.across import AcrossMap
from linewatch.contracts.errors import ConfigError, LinewatchError, SourceError

LINE = LineSettings()
TILTED = AcrossMap(-391.0, 0.49, 1600, (6.0, -41.5, 1.0, 3.0))
COLUMNS = np.linspace(0.0, 1600.0, 401)


def measured(profile: np.ndarray, pitch_mm: float = 10.0, index_mm: float = 3.0) -> MadeGeometry:
    return make_geometry(taken(frames(profile, 4)), LINE, "me", pitch_mm, index_mm)


@pytest.mark.parametrize("lens", [AcrossMap(-400.0, 0.5, 1600), LENS_2_PERCENT, TILTED])
@pytest.mark.parametrize(("pitch_mm", "blur_px", "gain_mm"), [(5.0, 1.5, 0.3), (10.0, 0.7, 0.0), (20.0, 0.05, 0.3)])
def test_the_map_is_right_to_a_twentieth_of_a_millimetre_and_knows_how_sure_it_is(lens, pitch_mm, blur_px, gain_mm):
    made = measured(seen(lens, target(pitch_mm, 3.0, gain_mm=gain_mm), blur_px), pitch_mm)
    error_mm = np.abs(made.part.columns.mm(COLUMNS) - lens.mm(COLUMNS))
    assert error_mm.max() < 0.05
    assert error_mm.max() < 5.0 * made.part.position_uncertainty_mm + 0.002
    assert made.part.distortion_mm == pytest.approx(np.abs(lens.bend_px(COLUMNS)).max() * lens.mm_per_px, abs=0.05)


def test_a_straight_lens_has_no_distortion_and_says_so():
    made = measured(seen(AcrossMap(-400.0, 0.5, 1600), target(10.0, 3.0)))
    assert made.part.distortion_px == ()
    assert made.part.mm_per_px.value == pytest.approx(0.5, abs=1e-5)
    assert made.part.across_offset_mm.value == pytest.approx(-400.0, abs=0.01)


def test_defects_are_told_where_they_are_and_as_large_as_they_are():
    """Spots of 6 x 4 mm under the distorting lens: the constant scale is 8 mm off, the calibrated map a tenth."""
    columns = measured(seen(LENS_2_PERCENT, target(10.0, 3.0))).part.columns
    spots_mm = np.array([-390.0, -250.0, -101.3, 0.0, 77.7, 230.4, 385.0])
    spread = seen(LENS_2_PERCENT, lambda mm: (np.abs(mm[..., None] - spots_mm) < 3.0).any(-1) * 255.0, 0.05)
    mask = np.zeros((16, 1600), np.uint8)
    mask[6:10] = np.where(spread >= 128, 255, 0)
    found = instances(run([predict(mask, columns=columns)]))
    assert [sum(one.box.across_mm) / 2 for one in found] == pytest.approx(spots_mm, abs=0.3)  # a pixel is 0.5 mm
    error_mm = np.array([sum(one.box.across_mm) / 2 for one in found]) - spots_mm
    assert abs(error_mm.mean()) < 0.1
    assert [one.area_mm2 for one in found] == pytest.approx([24.0] * 7, rel=0.12)
    straight = instances(run([predict(mask, columns=AcrossMap(-400.0, 0.5, 1600))]))
    assert max(abs(sum(one.box.across_mm) / 2 - mm) for one, mm in zip(straight, spots_mm, strict=True)) > 7.0


def test_subpixel_positions_follow_the_map_to_a_tenth_of_a_millimetre():
    made = measured(seen(LENS_2_PERCENT, target(10.0, 3.0)))
    places_mm = np.linspace(-399.0, 399.0, 97)
    assert made.part.columns.mm(LENS_2_PERCENT.column(places_mm)) == pytest.approx(places_mm, abs=0.02)
    assert made.part.columns.column(places_mm) == pytest.approx(LENS_2_PERCENT.column(places_mm), abs=0.04)


GOOD = seen(LENS_2_PERCENT, target(10.0, 3.0))


def _two_indices(mm: np.ndarray) -> np.ndarray:
    return np.minimum(target(10.0, 3.0)(mm), np.where(np.abs(mm - 203.0) < 5.0, 40.0, 200.0))


def _wavy(mm: np.ndarray) -> np.ndarray:
    return target(10.0, 3.0)(mm + 0.6 * np.sin(mm / 9.0))


def _turned() -> np.ndarray:
    shifts = np.linspace(0.0, 0.6, 64)
    lenses = [AcrossMap(-400.0 + shift, 0.5, 1600) for shift in shifts]
    return np.stack([np.stack([seen(lens, target(10.0, 3.0)) for lens in lenses])] * 4).astype(np.uint8)


BAD = {
    "saturated": (lambda: frames(seen(LENS_2_PERCENT, target(10.0, 3.0, light=290.0)), 4), 10.0, "saturated"),
    "moving": (
        lambda: np.concatenate(
            [frames(seen(AcrossMap(-400.0 + shift, 0.5, 1600), target(10.0, 3.0)), 1) for shift in (0, 0.4, 0.8, 1.2)]
        ),
        10.0,
        "stand still",
    ),
    "turned": (_turned, 10.0, "aside at the end of a picture"),
    "wrong pitch": (lambda: frames(GOOD, 4), 16.0, "expected about 16.0 px by --pitch-mm"),
    "too fine": (lambda: frames(GOOD, 4), 3.0, "finer ones are aliased"),
    "aliased": (lambda: frames(seen(LENS_2_PERCENT, target(1.05, 3.0), 0.3), 4), 10.0, r"no target|px wide|index|seen"),
    "no target": (lambda: frames(np.full(1600, 90.0), 4), 10.0, "no target found"),
    "half a target": (lambda: frames(np.where(np.arange(1600) < 700, GOOD, 40.0), 4), 10.0, "over 80% of the width"),
    "no index": (lambda: frames(seen(LENS_2_PERCENT, target(10.0, 900.0)), 4), 10.0, "found 0 index bars"),
    "two indices": (lambda: frames(seen(LENS_2_PERCENT, _two_indices), 4), 10.0, "found 2 index bars"),
    "buckled": (lambda: frames(seen(LENS_2_PERCENT, _wavy), 4), 10.0, "does not fit a lens"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_good_target_is_refused_in_one_line(name):
    pictures, pitch_mm, said = BAD[name]
    with pytest.raises(SourceError, match=said) as caught:
        make_geometry(taken(pictures()), LINE, "me", pitch_mm, 3.0)
    text = str(caught.value)
    assert text.startswith("frames: ")
    assert "expected" in text
    assert "\n" not in text


def test_a_printed_target_is_one_that_the_camera_finds():
    svg = printed_target(900.0, 60.0, 10.0)
    bars = [tuple(map(float, one)) for one in re.findall(r'<rect x="([\d.]+)" y="0" width="([\d.]+)"', svg)]

    def bright(mm: np.ndarray) -> np.ndarray:
        on_paper = mm + 450.0 - 3.0
        return np.where(
            np.any([(left <= on_paper) & (on_paper < left + width) for left, width in bars], 0), 40.0, 200.0
        )

    made = measured(seen(LENS_2_PERCENT, bright))
    assert made.part.columns.mm(COLUMNS) == pytest.approx(LENS_2_PERCENT.mm(COLUMNS), abs=0.02)
    with pytest.raises(ConfigError, match="12 to"):
        printed_target(100.0, 60.0, 10.0)
    assert issubclass(ConfigError, LinewatchError)
