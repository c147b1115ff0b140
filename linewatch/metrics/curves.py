"""Metrics of one score against a binary truth: the counts at every threshold, AUC, and the best threshold by F1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class ThresholdCurve:
    """Counts at every distinct score taken as a threshold, from the highest score to the lowest.

    thresholds: float64 (k,). calls, hits: int64 (k,), the samples at or above the threshold, and how many of them are
    positive. positives, negatives: the samples of each kind.
    """

    thresholds: NDArray[np.float64]
    calls: NDArray[np.int64]
    hits: NDArray[np.int64]
    positives: int
    negatives: int

    @classmethod
    def of(cls, scores: NDArray[np.floating], truth: NDArray[np.bool_]) -> ThresholdCurve:
        """The curve of scores and truth, (n,) each; truth is True for positives."""
        order = np.argsort(-scores, kind="stable")
        falling = np.asarray(scores, np.float64)[order]
        last = np.flatnonzero(np.diff(falling, append=-np.inf))  # the last sample of each run of equal scores
        positives = int(np.count_nonzero(truth))
        return cls(
            falling[last], last + 1, np.cumsum(truth[order], dtype=np.int64)[last], positives, len(falling) - positives
        )

    @property
    def precision(self) -> NDArray[np.float64]:
        return self.hits / self.calls

    @property
    def recall(self) -> NDArray[np.float64]:
        return self.hits / self.positives

    @property
    def false_positive_rate(self) -> NDArray[np.float64]:
        return (self.calls - self.hits) / self.negatives

    @property
    def f1(self) -> NDArray[np.float64]:
        return 2 * self.hits / (self.calls + self.positives)


def auc(scores: NDArray[np.floating], truth: NDArray[np.bool_]) -> float | None:
    """Return the area under the ROC curve, ties counting half; None unless both kinds of `truth` (n,) occur."""
    curve = ThresholdCurve.of(scores, truth)
    if not curve.positives or not curve.negatives:
        return None
    hits, false = np.append(0, curve.hits), np.append(0, curve.calls - curve.hits)
    return float(np.trapezoid(hits, false) / (curve.positives * curve.negatives))


def threshold_by_f1(scores: NDArray[np.floating], truth: NDArray[np.bool_], slack: float = 0.0) -> float:
    """Return the highest threshold whose F1 is within `slack` of the best; 0.5 without a positive sample.

    The threshold lies half-way between the lowest score that it calls and the next lower one (0 below the lowest).
    """
    curve = ThresholdCurve.of(scores, truth)
    if not curve.positives:
        return DEFAULT_THRESHOLD
    at = int(np.flatnonzero(curve.f1 >= curve.f1.max() - slack)[0])
    below = curve.thresholds[at + 1] if at + 1 < len(curve.thresholds) else 0.0
    return float((curve.thresholds[at] + below) / 2)
