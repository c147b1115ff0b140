"""The figures of an inspect network on outlined frames."""

import numpy as np
import pytest

from linewatch.metrics.inspected import InspectScores

GRAY = np.full((256, 1600), 90, np.uint8)


def maps(screen: float, *found: tuple[slice, slice, float]) -> np.ndarray:
    planes = np.zeros((6, 64, 400), np.float32)
    planes[0], planes[2] = screen, 1.0
    for rows, columns, value in found:
        planes[1, rows, columns] = value
    return planes


def test_each_figure_counts_what_it_says() -> None:
    """Two pieces, one found and one below 0.5; a speck that does not count; a clean frame without a Dice."""
    mask = np.zeros((256, 1600), np.uint8)
    mask[40:80, 400:480], mask[40:80, 1000:1080], mask[200:204, 200:204] = 1, 3, 2
    half = (np.s_[10:20], np.s_[100:110], 0.9)  # half of the first piece, above both limits
    faint = (np.s_[10:20], np.s_[250:270], 0.3)  # all of the second, above the outline's limit alone
    frames = [(GRAY, mask, maps(0.8, half, faint)), (GRAY, np.zeros_like(mask), maps(0.1))]
    scores = InspectScores.of(frames, 4, 0.25)
    assert scores.found.tolist() == [True, False]
    assert scores.of_frame.tolist() == [0, 0]
    called, true = 1600 + 3200, 3200 + 3200 + 16
    assert scores.dice[0] == pytest.approx(2 * 4800 / (called + true))
    assert np.isnan(scores.dice[1])
    assert scores.mean_dice(np.array([0, 1])) == scores.dice[0]
    assert scores.mean_dice(np.array([1])) is None
    assert scores.windows.auc() == pytest.approx(0.85)  # three clean tiles of the first frame score as its four others


def test_a_blind_screen_plane_has_no_recall_however_good_the_outlines() -> None:
    mask = np.zeros((256, 1600), np.uint8)
    mask[40:80, 400:480] = 1
    sharp = maps(0.0, (np.s_[10:20], np.s_[100:120], 1.0))
    scores = InspectScores.of([(GRAY, mask, sharp), (GRAY, np.zeros_like(mask), maps(0.9))], 4, 0.25)
    assert scores.dice[0] == 1.0
    assert scores.found.all()
    assert scores.windows.recall_at(0.1) == 0.0
