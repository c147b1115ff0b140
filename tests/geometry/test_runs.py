"""Run-length masks hold exactly the pixels of the mask."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linewatch.geometry.runs import (
    first_per_column,
    last_per_column,
    near,
    rectangle,
    to_mask,
    to_runs,
    union,
)


@st.composite
def masks(draw, lines=None, width=None):
    lines = draw(st.integers(0, 12)) if lines is None else lines
    width = draw(st.integers(1, 20)) if width is None else width
    density = draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1))).random((lines, width)) < density


@given(masks())
def test_runs_and_mask_are_each_other_s_inverse(mask):
    runs = to_runs(mask)
    assert runs.dtype == np.int32
    assert runs.shape == (len(runs), 3)
    assert np.array_equal(to_mask(runs, *mask.shape), mask)
    assert np.array_equal(to_runs(to_mask(runs, *mask.shape)), runs)
    assert (runs[:, 2] - runs[:, 1]).sum() == mask.sum()


@given(masks())
def test_runs_are_sorted_and_never_touch(mask):
    runs = to_runs(mask).tolist()
    assert runs == sorted(runs)
    assert all(start < stop for _, start, stop in runs)
    assert all(a[0] < b[0] or a[2] < b[1] for a, b in pairwise(runs))


def test_a_byte_mask_counts_every_nonzero_value():
    mask = np.array([[0, 1, 255], [7, 0, 0]], np.uint8)
    assert to_runs(mask).tolist() == [[0, 1, 3], [1, 0, 1]]


@given(st.data(), st.integers(1, 4))
def test_the_union_holds_the_pixels_of_every_part_once(data, count):
    lines, width = data.draw(st.integers(0, 8)), data.draw(st.integers(1, 12))
    parts = [data.draw(masks(lines, width)) for _ in range(count)]
    expected = to_runs(np.logical_or.reduce(parts))
    assert np.array_equal(union([to_runs(part) for part in parts]), expected)


def test_a_rectangle_is_its_pixels():
    mask = np.zeros((6, 9), bool)
    mask[2:5, 3:7] = True
    assert np.array_equal(rectangle(3, 2, 7, 5), to_runs(mask))


@given(masks())
def test_a_profile_keeps_the_outermost_pixel_of_each_column(mask):
    last, first = np.zeros_like(mask), np.zeros_like(mask)
    for column in range(mask.shape[1]):
        lines = np.flatnonzero(mask[:, column])
        if len(lines):
            last[lines[-1], column] = first[lines[0], column] = True
    assert np.array_equal(last_per_column(to_runs(mask)), to_runs(last))
    assert np.array_equal(first_per_column(to_runs(mask)), to_runs(first))


@pytest.mark.parametrize(("reach_px", "reach_lines"), [(1, 1), (3, 2), (2, 5)])
@given(data=st.data())
def test_near_is_a_distance_between_pixels(reach_px, reach_lines, data):
    one, other = to_runs(data.draw(masks(6, 12))), to_runs(data.draw(masks(6, 12)))
    expected = [
        [
            any(
                abs(a[0] - b[0]) <= reach_lines and abs(i - j) <= reach_px
                for i in range(a[1], a[2])
                for j in range(b[1], b[2])
            )
            for b in other.tolist()
        ]
        for a in one.tolist()
    ]
    assert near(one, other, reach_px, reach_lines).tolist() == expected
