"""A bar's length, width and direction, however it lies and however it was cut."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linewatch.geometry.moments import Moments
from linewatch.geometry.runs import rectangle, to_runs


@given(
    st.integers(0, 500),
    st.integers(0, 200),
    st.integers(1, 400),
    st.integers(1, 300),
    st.floats(0.1, 2),
    st.floats(0.1, 2),
)
def test_an_upright_rectangle_has_its_own_length_and_width(
    left: int, top: int, width: int, lines: int, mm_per_px: float, mm_per_line: float
) -> None:
    found = Moments.of(rectangle(left, top, left + width, top + lines)).spread(mm_per_px, mm_per_line)
    across_mm, along_mm = width * mm_per_px, lines * mm_per_line
    assert found.length_mm == pytest.approx(max(across_mm, along_mm))
    assert found.width_mm == pytest.approx(min(across_mm, along_mm), abs=1e-4)
    if abs(across_mm - along_mm) > 1e-3:
        assert abs(found.orientation_deg) == pytest.approx(90 if across_mm > along_mm else 0, abs=1e-6)


@pytest.mark.parametrize("angle", [-75, -45, -10, 0, 20, 45, 80])
def test_a_slanted_bar_has_its_angle_from_the_rolling_direction(angle: int) -> None:
    mask = np.zeros((800, 800), np.uint8)
    towards = np.array([math.sin(math.radians(angle)), math.cos(math.radians(angle))])  # across, along
    side = np.array([towards[1], -towards[0]])
    corners = [400 + 300 * a * towards + 6 * b * side for a, b in ((-1, -1), (-1, 1), (1, 1), (1, -1))]
    cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 1)
    found = Moments.of(to_runs(mask)).spread(1.0, 1.0)
    assert found.orientation_deg == pytest.approx(angle, abs=0.5)
    assert found.length_mm == pytest.approx(600, rel=0.02)
    assert found.width_mm == pytest.approx(12, abs=1.5)


def test_different_pitches_turn_a_diagonal() -> None:
    diagonal = to_runs(np.eye(200, dtype=np.uint8))
    assert Moments.of(diagonal).spread(0.5, 1.0).orientation_deg == pytest.approx(math.degrees(math.atan(0.5)), abs=0.1)


@given(st.integers(0, 2**32 - 1), st.integers(1, 59), st.integers(0, 10**9))
def test_sums_add_up_over_any_cut_and_any_distance_along_the_coil(seed: int, cut: int, lines: int) -> None:
    mask = np.random.default_rng(seed).random((60, 90)) < 0.2
    runs = to_runs(mask)
    first = Moments.of(to_runs(mask[:cut]))
    second = Moments.of(to_runs(mask[cut:])).moved(cut)
    whole = Moments.of(runs)
    assert first + second == whole
    assert (first.moved(lines) + second.moved(lines)) == whole.moved(lines)
    assert whole.moved(lines).spread(0.5, 1.0) == whole.spread(0.5, 1.0)
