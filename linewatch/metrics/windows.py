"""A screen's metric: recall on defective windows at the share of clean windows that it passes.

A window is a tile, a frame or an image. It passes when its score is at or above the threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linewatch.metrics.classes import finite, one_per_sample
from linewatch.metrics.curves import auc
from linewatch.metrics.intervals import DRAWS, intervals, with_intervals
from linewatch.metrics.result import EvaluationResult, Interval
from linewatch.metrics.tiles import TileTruth

PASS_RATES = ("0.01", "0.05", "0.10")
"""Shares of the clean windows that may pass."""


@dataclass(frozen=True)
class WindowScores:
    """Scores of windows, float64 (n,), which of them are defective, bool (n,), and the group (frame) of each, (n,)."""

    scores: NDArray[np.float64]
    defective: NDArray[np.bool_]
    groups: NDArray[np.generic]

    @classmethod
    def of_tiles(
        cls, scores: Sequence[NDArray[np.float64]], truths: Sequence[TileTruth], least_px: int = 1
    ) -> WindowScores:
        """Gather the tiles of frames; leave out tiles that hold some, but fewer than `least_px`, defect pixels."""
        frame = np.repeat(np.arange(len(scores)), [len(one) for one in scores])
        defective = np.concatenate([one.defect_px >= least_px for one in truths])
        counted = defective | np.concatenate([one.clean for one in truths])
        return cls(np.concatenate(scores)[counted], defective[counted], frame[counted])

    def at(self, indices: NDArray[np.intp]) -> WindowScores:
        """Return the windows at `indices`, which may repeat."""
        return WindowScores(self.scores[indices], self.defective[indices], self.groups[indices])

    def threshold(self, pass_rate: float) -> float:
        """Return the lowest threshold that passes at most `pass_rate` of the clean windows."""
        falling = np.sort(self.scores[~self.defective])[::-1]
        allowed = int(pass_rate * len(falling) + 1e-9)
        return float(np.nextafter(falling[allowed], np.inf)) if allowed < len(falling) else 0.0

    def recall(self, threshold: float) -> float:
        """Return the share of the defective windows that pass."""
        return float(np.mean(self.scores[self.defective] >= threshold))

    def pass_rate(self, threshold: float) -> float:
        """Return the share of the clean windows that pass."""
        return float(np.mean(self.scores[~self.defective] >= threshold))

    def recall_at(self, pass_rate: float) -> float | None:
        """Return the recall at `threshold(pass_rate)`; None unless there are defective and clean windows.

        With n clean windows, a rate below 1 / n lets none pass.
        """
        if not self.defective.any() or self.defective.all():
            return None
        return self.recall(self.threshold(pass_rate))

    def auc(self) -> float | None:
        return auc(self.scores, self.defective)

    def interval(self, pass_rate: float, draws: int = DRAWS, seed: int = 0) -> Interval:
        """Return the 95 % interval of `recall_at(pass_rate)`, by a bootstrap over groups."""
        found = intervals(lambda at: {"recall": self.at(at).recall_at(pass_rate)}, self.groups, draws, seed)
        return found.get("recall", (0.0, 1.0))


def recall_at_pass_rates(scores: NDArray[np.float64], defective: NDArray[np.bool_]) -> dict[str, float | None]:
    """Return the recall at each of `PASS_RATES`; None unless there are defective and clean windows."""
    found = WindowScores(scores, defective, np.arange(len(scores)))
    return {rate: found.recall_at(float(rate)) for rate in PASS_RATES}


def evaluate(
    scores: ArrayLike,
    defective: ArrayLike,
    groups: Sequence[object] | ArrayLike | None = None,
    paper: Mapping[str, float] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> EvaluationResult:
    """Evaluate a screen from the scores and the truth of windows, (n,) each; `groups` (n,): the frame or coil of each.

    Leave out windows that count neither as defective nor as clean.
    """
    score, bad = finite(scores), np.asarray(defective, bool)
    if score.shape != bad.shape or score.ndim != 1:
        raise ValueError(f"scores {score.shape} and truth {bad.shape}: expected (n,) of both")
    claims = dict(paper or {})

    def evaluated(at: NDArray[np.intp]) -> EvaluationResult:
        return EvaluationResult(
            count=len(at),
            task="screen",
            classes=("defective",),
            auc=auc(score[at], bad[at]),
            recall_at_pass_rate=recall_at_pass_rates(score[at], bad[at]),
            paper=claims,
        )

    return with_intervals(evaluated, one_per_sample(len(score), groups), draws, seed)


def false_instances_per_1000_m2(
    false_instances: ArrayLike,
    area_m2: ArrayLike,
    groups: Sequence[object] | ArrayLike | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[float | None, Interval | None]:
    """Return the instances called on clean strip per 1,000 m^2, and the 95 % interval of that rate.

    The arguments are the count and the area of each frame, (n,) each. (None, None) without any area.
    """
    counts, areas = np.asarray(false_instances, np.float64), np.asarray(area_m2, np.float64)
    group = one_per_sample(len(counts), groups)

    def rate(at: NDArray[np.intp]) -> dict[str, float | None]:
        area = areas[at].sum()
        return {"rate": float(1000 * counts[at].sum() / area) if area > 0 else None}

    return rate(np.arange(len(counts)))["rate"], intervals(rate, group, draws, seed).get("rate")
