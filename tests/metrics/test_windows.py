"""The screen's recall at a pass rate counts tiles as its definition says."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from linewatch.metrics.plots import pass_rate_curves
from linewatch.metrics.tiles import TileTruth, steel_columns, tile_scores, tile_starts
from linewatch.metrics.windows import WindowScores

scores = arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1, width=16))


def windows(bad: np.ndarray, good: np.ndarray) -> WindowScores:
    defective = np.arange(len(bad) + len(good)) < len(bad)
    frames = np.r_[np.arange(len(bad)), np.arange(len(good))]
    return WindowScores(np.r_[bad, good], defective, frames)


@pytest.mark.slow
@given(scores, scores, st.floats(0, 1))
def test_threshold_passes_no_more_than_asked(bad: np.ndarray, good: np.ndarray, rate: float) -> None:
    """At most the asked share of clean tiles passes, and a lower score than the threshold would pass more."""
    m = windows(bad, good)
    threshold = m.threshold(rate)
    assert m.pass_rate(threshold) <= rate + 1e-9
    lower = good[good < threshold]
    if len(lower):
        assert m.pass_rate(lower.max()) > rate - 1e-9


@given(scores, scores)
def test_recall_grows_with_what_may_pass(bad: np.ndarray, good: np.ndarray) -> None:
    """The curve never falls, and ends at 1 where everything passes."""
    recalls = [windows(bad, good).recall_at(r) for r in np.linspace(0, 1, 21)]
    assert recalls == sorted(recalls)
    assert recalls[-1] == 1


@given(scores, scores)
def test_auc_is_the_chance_of_right_order(bad: np.ndarray, good: np.ndarray) -> None:
    """AUC equals the mean over all pairs."""
    pairs = (bad[:, None] > good) + 0.5 * (bad[:, None] == good)
    assert windows(bad, good).auc() == pytest.approx(pairs.mean())


@given(arrays(np.float32, (8, 50), elements=st.floats(0, 1, width=16)))
def test_a_tile_scores_its_highest_cell(cells: np.ndarray) -> None:
    """With steel everywhere a tile's score is the maximum of the cells that its pixels touch."""
    pixels = cells.repeat(32, 0).repeat(32, 1)
    want = [pixels[:, x : x + 256].max() for x in tile_starts(1600)]
    np.testing.assert_array_equal(tile_scores(cells, 32, np.ones(1600, bool)), want)


def test_cells_off_the_strip_do_not_count() -> None:
    """A high score beside the strip passes nothing; one on a cell that the strip's edge crosses does."""
    cells = np.zeros((8, 50), np.float32)
    cells[3, 2], cells[3, 12] = 1, 0.5
    steel = np.arange(1600) >= 12 * 32 + 20
    found = tile_scores(cells, 32, steel)
    assert found[0] == 0
    assert found[1] == 0.5
    assert not found[2:].any()


def test_tiles_cover_the_frame() -> None:
    """Seven tiles of 256 px cover 1600 px."""
    starts = list(tile_starts(1600))
    assert starts == [0, 224, 448, 672, 896, 1120, 1344]


def test_truth_sorts_tiles_into_defective_clean_and_neither() -> None:
    """One pixel makes its tiles defective (two where they overlap); off-steel tiles are neither; least_px drops the
    barely touched.
    """
    image = np.full((256, 1600), 90, np.uint8)
    image[:, 900:] = 3
    mask = np.zeros((256, 1600), np.uint8)
    mask[10, 240] = 1
    truth = TileTruth.of(mask, steel_columns(image))
    m = WindowScores.of_tiles([np.arange(7.0)], [truth])
    assert list(m.scores[m.defective]) == [0, 1]
    assert list(m.scores[~m.defective]) == [2, 3]
    assert not WindowScores.of_tiles([np.arange(7.0)], [truth], least_px=2).defective.any()


def test_interval_holds_the_figure_and_narrows_with_frames() -> None:
    """The bootstrap interval brackets the recall and gets narrower with four times the frames."""
    rng = np.random.default_rng(1)
    few, many = (windows(rng.normal(1.5, 1, n), rng.normal(0, 1, n)) for n in (40, 640))
    for m in (few, many):
        low, high = m.interval(0.1, draws=200)
        assert low <= m.recall_at(0.1) <= high
    assert np.diff(many.interval(0.1, 200)) < np.diff(few.interval(0.1, 200))


def test_the_curve_is_drawn(tmp_path: Path) -> None:
    """pass_rate_curves writes a PNG."""
    pass_rate_curves(
        {"made up": windows(np.array([0.6, 0.9]), np.array([0.1, 0.7]))}, tmp_path / "curve.png", threshold=0.65
    )
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
