"""Outlines as ladders of rectangles: fine enough to separate neighbours, coarse enough to hold a whole coil in memory.

A bounding box describes a scratch that crosses the strip poorly; its mask, summarised rung by rung along the strip,
describes it well. Rungs are int64 rows (begin, end, left, right) in micrometres, begin and end along the strip; integer
sums are exact in any order.
"""

from dataclasses import dataclass

import numpy as np

from linewatch.geometry.matching import meetings

RUNG_MM = 16.0
UM_PER_MM = 1000


@dataclass(frozen=True, slots=True)
class Outlines:
    """The outlines of `count` instances. rungs: int64 (n, 4) as above; of: (n,) the instance of each, ascending."""

    count: int
    of: np.ndarray
    rungs: np.ndarray

    def grown(self, tolerance_mm: float) -> "Outlines":
        """Return the outlines grown by half of `tolerance_mm` on every side, so that outlines that close touch.

        Two rungs of one instance grow at most to the middle of the gap between them, so that no area counts twice.
        """
        half = round(tolerance_mm * UM_PER_MM / 2)
        order = np.lexsort((self.rungs[:, 3], self.rungs[:, 2], self.rungs[:, 1], self.rungs[:, 0], self.of))
        of, rungs = self.of[order], self.rungs[order].copy()
        # Lay the instances one after the other along one axis, so that one pass finds all gaps.
        offset = of * (np.ptp(rungs[:, 0:2]) + 4 * half + 4 if len(rungs) else 0)
        begin, end = rungs[:, 0] + offset, rungs[:, 1] + offset
        before = np.maximum.accumulate(np.append(np.iinfo(np.int64).min // 2, end[:-1]))
        after = np.minimum.accumulate(np.append(begin[1:], np.iinfo(np.int64).max // 2)[::-1])[::-1]
        rungs[:, 0] -= np.clip((begin - before) // 2, 0, half)
        rungs[:, 1] += np.clip((after - end) // 2, 0, half)
        rungs[:, 2] -= half
        rungs[:, 3] += half
        return Outlines(self.count, of, rungs)

    def areas(self) -> np.ndarray:
        """Return the area of each instance in um^2: int64 (count,)."""
        areas = np.zeros(self.count, np.int64)
        np.add.at(areas, self.of, _area(self.rungs))
        return areas


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Instances `one[k]` and `other[k]` share `shared[k]` um^2. Every overlapping pair is listed once, sorted."""

    one: np.ndarray
    other: np.ndarray
    shared: np.ndarray


def overlaps(one: Outlines, other: Outlines) -> Overlaps:
    """Return which instances of both overlap, and by how much."""
    keys, sums = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for i, j in meetings(one.rungs[:, 0:2], other.rungs[:, 0:2]):
        ours, theirs = one.rungs[i], other.rungs[j]
        met = (ours[:, 2] < theirs[:, 3]) & (theirs[:, 2] < ours[:, 3])
        ours, theirs = ours[met], theirs[met]
        low, high = np.maximum(ours[:, 0::2], theirs[:, 0::2]), np.minimum(ours[:, 1::2], theirs[:, 1::2])
        key, total = _summed(one.of[i[met]] * other.count + other.of[j[met]], np.prod(high - low, axis=1))
        keys.append(key)
        sums.append(total)
    key, total = _summed(np.concatenate(keys), np.concatenate(sums))
    return Overlaps(key // max(other.count, 1), key % max(other.count, 1), total)


def rungs_of(
    line: np.ndarray, runs: np.ndarray, of: np.ndarray, mm_per_line: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return runs as rungs of at most RUNG_MM: (of, int64 (n, 4): begin and end in um, left and right in columns).

    line: (n,), the place of each run along the strip in mm. runs: (n, 3) as in `geometry.runs`, sorted within each
    instance. of: (n,), the instance of each run, runs of one instance together. mm_per_line: (n,).
    """
    rung = np.floor(line / RUNG_MM).astype(np.int64)
    changes = np.ones(len(line), dtype=bool)
    changes[1:] = (rung[1:] != rung[:-1]) | (of[1:] != of[:-1])
    first = np.flatnonzero(changes)
    last = np.append(first[1:], len(line)) - 1
    begin = np.rint(line[first] * UM_PER_MM)
    end = np.maximum(np.rint((line[last] + mm_per_line[last]) * UM_PER_MM), begin + 1)
    left, right = np.minimum.reduceat(runs[:, 1], first), np.maximum.reduceat(runs[:, 2], first)
    return of[first], np.stack([begin, end, left, right], axis=1).astype(np.int64)


def _summed(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    unique, place = np.unique(keys, return_inverse=True)
    sums = np.zeros(len(unique), np.int64)
    np.add.at(sums, place, values)
    return unique, sums


def _area(rungs: np.ndarray) -> np.ndarray:
    area: np.ndarray = (rungs[:, 1] - rungs[:, 0]) * (rungs[:, 3] - rungs[:, 2])
    return area
