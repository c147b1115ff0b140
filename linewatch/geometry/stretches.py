"""Stretches of strip: half-open intervals along it, float64 (n, 2) in millimetres, and their total coverage."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np


def union(intervals: np.ndarray, gap_mm: float = 0.0) -> np.ndarray:
    """Join intervals that overlap or lie at most `gap_mm` apart, and drop empty ones.

    intervals: float64 (n, 2), [begin, end). The result is float64 (m, 2), ascending and disjoint.
    """
    intervals = intervals[intervals[:, 1] > intervals[:, 0]]
    if not len(intervals):
        return intervals
    intervals = intervals[np.argsort(intervals[:, 0], kind="stable")]
    reached = np.maximum.accumulate(intervals[:, 1])
    first = np.append(True, intervals[1:, 0] > reached[:-1] + gap_mm)
    return np.stack([intervals[first, 0], reached[np.append(np.flatnonzero(first)[1:] - 1, len(reached) - 1)]], axis=1)


def shared(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the intersection of two sets of disjoint, ascending stretches."""
    kept, i, j = [], 0, 0
    while i < len(one) and j < len(other):
        begin, end = max(one[i, 0], other[j, 0]), min(one[i, 1], other[j, 1])
        if end > begin:
            kept.append((begin, end))
        if one[i, 1] <= other[j, 1]:
            i += 1
        else:
            j += 1
    return np.array(kept, np.float64).reshape(-1, 2)


def length_mm(stretches: np.ndarray) -> float:
    """Return the total length of disjoint stretches."""
    return float((stretches[:, 1] - stretches[:, 0]).sum())


def covered_mm(stretches: np.ndarray, begin_mm: np.ndarray, end_mm: np.ndarray) -> np.ndarray:
    """Return how much of each interval [begin, end) the stretches cover."""
    if not len(stretches):
        return np.zeros(len(begin_mm))
    before = np.repeat(np.cumsum(stretches[:, 1] - stretches[:, 0]), 2)
    before[0::2] -= stretches[:, 1] - stretches[:, 0]
    bounds = stretches.ravel()
    covered = np.interp(end_mm, bounds, before) - np.interp(begin_mm, bounds, before)
    return np.asarray(covered, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Stretches:
    """The union of intervals along a moving strip, in bounded memory.

    kept: float64 (n, 2), disjoint, ascending. settled_mm: the covered length before `settled_to_mm`, where single
    intervals are no longer known; the part of a later interval that reaches back before it does not count.
    """

    kept: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))
    settled_mm: float = 0.0
    settled_to_mm: float = -np.inf

    def add(self, intervals: np.ndarray, gap_mm: float = 0.0) -> Self:
        """Return the union with further intervals, float64 (n, 2); gaps up to `gap_mm` are closed."""
        if not len(intervals):
            return self
        intervals = np.maximum(intervals, self.settled_to_mm)
        return type(self)(union(np.concatenate([self.kept, intervals]), gap_mm), self.settled_mm, self.settled_to_mm)

    def behind(self, begin_mm: float) -> Self:
        """Return the stretches without the part of `kept` before `begin_mm`."""
        return type(self)(union(np.maximum(self.kept, begin_mm)), self.settled_mm, self.settled_to_mm)

    def settle(self, most: int) -> Self:
        """Keep the `most` stretches that lie furthest along; keep only the total length of the others."""
        if len(self.kept) <= most:
            return self
        old, kept = self.kept[:-most], self.kept[-most:]
        return type(self)(kept, self.settled_mm + float((old[:, 1] - old[:, 0]).sum()), float(old[-1, 1]))

    def length_mm(self, end_mm: float = np.inf) -> float:
        """Return the covered length before `end_mm`, which must not lie before `settled_to_mm`."""
        begins, ends = np.minimum(self.kept, end_mm).T
        return self.settled_mm + float((ends - begins).sum())
