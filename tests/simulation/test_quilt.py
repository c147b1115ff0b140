"""Strip composed of real clean frames contains only their steel, cut where it shows least."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linewatch.config.line import LineSettings
from linewatch.simulation.quilt import _least_cut, quilted, relit
from linewatch.simulation.strip import SimulatedStrip


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    return SimulatedStrip(3, 0.256, 0.0, LineSettings()).lines(0, 256)


def test_frames_are_of_the_given_shape_and_repeat_by_the_seed(frame):
    first, again = (list(quilted([frame], 3, np.random.default_rng(1))) for _ in range(2))
    assert [one.shape for one in first] == [frame.shape] * 3
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], first[1])


def test_composed_strip_is_steel_from_side_to_side(frame):
    assert np.median(frame, axis=0).min() < 12  # the dark beside the strip
    composed = next(quilted([frame], 1, np.random.default_rng(1)))
    assert np.median(composed, axis=0).min() > 20


def test_a_cut_shows_no_more_than_the_steel_itself(frame):
    """Apart from light and noise, the largest step between neighbouring columns' means is the steel's own."""
    composed = next(quilted([frame], 1, np.random.default_rng(5))).astype(float)
    steel = frame[:, np.median(frame, axis=0) > 20].astype(float)

    def step(gray: np.ndarray) -> float:
        return float(np.abs(np.diff(gray.mean(axis=0))).max() / gray.mean())

    assert step(composed) <= 1.5 * step(steel)


def test_a_frame_in_which_the_strip_ends_is_not_quilted(frame):
    ends = frame.copy()
    ends[150:] = 0
    composed = next(quilted([ends], 1, np.random.default_rng(2)))
    dark = (composed.mean(axis=1) < 1).sum()
    assert dark == 106


def test_what_is_black_stays_black(frame):
    assert not relit(np.zeros_like(frame), np.random.default_rng(1)).any()


@given(st.integers(1, 12), st.integers(1, 8), st.integers(0, 1000))
def test_a_cut_is_a_path_and_none_is_cheaper(lines, width, seed):
    cost = np.random.default_rng(seed).integers(0, 50, (lines, width)).astype(np.float32)
    path = _least_cut(cost)
    assert np.all(np.abs(np.diff(path)) <= 1)
    sums = cost[0].astype(float)
    for row in cost[1:]:
        sums = row + np.array([sums[max(0, i - 1) : i + 2].min() for i in range(width)])
    assert cost[np.arange(lines), path].sum() == sums.min()
