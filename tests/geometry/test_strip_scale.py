"""Lines and columns to strip millimetres and back, also through a lens that distorts."""

import numpy as np
import pytest

from linewatch.config.line import LineSettings
from linewatch.contracts.across import AcrossMap
from linewatch.contracts.errors import ConfigError
from linewatch.geometry.strip import StripScale
from linewatch.service_settings import settings_from

SCALE = StripScale(along_mm=1000.0, mm_per_line=0.8, columns=AcrossMap(-400.0, 0.5, 1600))
LENS = AcrossMap(-400.0, 0.5, 1600, (3.0, -16.0, 0.5))


def test_a_box_is_half_open_in_millimetres():
    box = SCALE.box(100, 120, 10, 20)
    assert box.across_mm == (-350.0, -340.0)
    assert box.along_mm == pytest.approx((1008.0, 1016.0))
    assert SCALE.mm2_per_px(100, 120) == pytest.approx(0.4)


@pytest.mark.parametrize("columns", [SCALE.columns, LENS])
@pytest.mark.parametrize("place", [0, 7, 255.5, 1600, np.linspace(-200.0, 1800.0, 999)])
def test_millimetres_lead_back_to_lines_and_columns(place, columns):
    scale = StripScale(1000.0, 0.8, columns)
    assert scale.line(scale.along(place)) == pytest.approx(place)
    assert scale.column(scale.across(place)) == pytest.approx(place, abs=1e-5)


def test_a_lens_bends_between_the_ends_of_the_camera_line_and_scales_locally():
    assert (LENS.mm(0.0), LENS.mm(1600.0)) == (-400.0, 400.0)
    assert LENS.mm(800.0) == pytest.approx(3.0 * 0.5)
    t = np.linspace(-1.0, 1.0, 1601)
    bend_px = (1.0 - t * t) * (3.0 - 16.0 * t + 0.5 * t * t)
    assert LENS.mm(np.arange(1601.0)) == pytest.approx(-400.0 + 0.5 * (np.arange(1601.0) + bend_px))
    slope = np.gradient(LENS.mm(np.arange(1601.0)))
    assert LENS.mm_per_px_over(np.array([10.0, 1590.0]), np.array([12.0, 1592.0])) == pytest.approx(slope[[11, 1591]])
    assert LENS.mm(1700.0) - LENS.mm(1690.0) == pytest.approx(LENS.mm(1610.0) - LENS.mm(1600.0))  # straight beyond
    assert LENS.width_mm(10.0, 12.0) == pytest.approx(LENS.mm(12.0) - LENS.mm(10.0))


def test_a_distortion_that_no_lens_has_is_refused():
    assert LineSettings(distortion_px=(3.0, -16.0)).across.distortion_px == (3.0, -16.0)
    with pytest.raises(ConfigError, match="squeezes a part of the camera line to less than half"):
        settings_from({"line": {"distortion_px": [0.0, 500.0]}}, "c.toml")
