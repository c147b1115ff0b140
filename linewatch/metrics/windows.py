"""Defective windows (tiles, frames, images) against clean ones: how many are caught when few clean ones may pass.

The arithmetic is `linewatch.metrics.pass_rate`'s, so that a screen judged here and in its own training agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linewatch.metrics.classes import auc, finite, one_per_sample
from linewatch.metrics.intervals import DRAWS, intervals, with_intervals
from linewatch.metrics.judgement import Interval, Judgement
from linewatch.metrics.pass_rate import Merit

PASS_RATES = ("0.01", "0.05", "0.10")
"""Shares of the clean windows that may pass."""


def recall_at_pass_rates(scores: NDArray[np.float64], defective: NDArray[np.bool_]) -> dict[str, float | None]:
    """Recall on the defective at the lowest threshold that passes at most that share of the clean, by pass rate; None
    unless there are both. With n clean windows a rate below 1/n lets none pass.
    """
    bad, good = scores[defective], scores[~defective]
    if not len(bad) or not len(good):
        return dict.fromkeys(PASS_RATES)
    merit = Merit(bad, np.arange(len(bad)), good, np.arange(len(good)))
    return {rate: merit.recall_at(float(rate)) for rate in PASS_RATES}


def judge(
    scores: ArrayLike,
    defective: ArrayLike,
    groups: Sequence[object] | ArrayLike | None = None,
    paper: Mapping[str, float] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Judgement:
    """A screen, from the scores and the truth of windows, (n,) each. Windows that count neither as defective nor as
    clean (off the steel, not outlined) are to be left out. `groups` (n,): the frame or coil of each.
    """
    score, bad = finite(scores), np.asarray(defective, bool)
    if score.shape != bad.shape or score.ndim != 1:
        raise ValueError(f"scores {score.shape} and truth {bad.shape}: expected (n,) of both")
    claims = dict(paper or {})

    def judged(at: NDArray[np.intp]) -> Judgement:
        return Judgement(
            count=len(at),
            task="screen",
            classes=("defective",),
            auc=auc(score[at], bad[at]),
            recall_at_pass_rate=recall_at_pass_rates(score[at], bad[at]),
            paper=claims,
        )

    return with_intervals(judged, one_per_sample(len(score), groups), draws, seed)


def false_instances_per_1000_m2(
    false_instances: ArrayLike,
    area_m2: ArrayLike,
    groups: Sequence[object] | ArrayLike | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[float | None, Interval | None]:
    """Instances called where nothing is, per 1,000 m^2 of strip, with its interval: from the count and the area of each
    frame, (n,) each. (None, None) without any area.
    """
    counts, areas = np.asarray(false_instances, np.float64), np.asarray(area_m2, np.float64)
    group = one_per_sample(len(counts), groups)

    def figures(at: NDArray[np.intp]) -> dict[str, float | None]:
        area = areas[at].sum()
        return {"rate": float(1000 * counts[at].sum() / area) if area > 0 else None}

    return figures(np.arange(len(counts)))["rate"], intervals(figures, group, draws, seed).get("rate")
