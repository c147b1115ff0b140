"""Stretches of strip: sorted, disjoint, half-open intervals along it, as float64 (n, 2) millimetres."""

from collections.abc import Iterable

import numpy as np


def united(stretches: Iterable[tuple[float, float]]) -> np.ndarray:
    """What any of them covers; those that touch are one."""
    merged: list[list[float]] = []
    for begin, end in sorted(stretches):
        if merged and begin <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        elif end > begin:
            merged.append([begin, end])
    return np.array(merged, np.float64).reshape(-1, 2)


def shared(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """What both cover."""
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
    """How long they are together."""
    return float((stretches[:, 1] - stretches[:, 0]).sum())


def covered_mm(stretches: np.ndarray, begin_mm: np.ndarray, end_mm: np.ndarray) -> np.ndarray:
    """How much of each interval [begin, end) they cover."""
    if not len(stretches):
        return np.zeros(len(begin_mm))
    before = np.repeat(np.cumsum(stretches[:, 1] - stretches[:, 0]), 2)
    before[0::2] -= stretches[:, 1] - stretches[:, 0]
    bounds = stretches.ravel()
    covered = np.interp(end_mm, bounds, before) - np.interp(begin_mm, bounds, before)
    return np.asarray(covered, np.float64)
