"""Lines and columns to strip millimetres and back."""

import pytest

from linewatch.geometry.strip import StripScale

SCALE = StripScale(along_mm=1000.0, mm_per_line=0.8, across_offset_mm=-400.0, mm_per_px=0.5)


def test_a_box_is_half_open_in_millimetres():
    box = SCALE.box(100, 120, 10, 20)
    assert box.across_mm == (-350.0, -340.0)
    assert box.along_mm == pytest.approx((1008.0, 1016.0))
    assert SCALE.mm2_per_px == pytest.approx(0.4)


@pytest.mark.parametrize("place", [0, 7, 255.5])
def test_millimetres_lead_back_to_lines_and_columns(place):
    assert SCALE.line(SCALE.along(place)) == pytest.approx(place)
    assert SCALE.column(SCALE.across(place)) == pytest.approx(place)
