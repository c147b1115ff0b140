"""Match found defects with true ones, instance by instance, in strip millimetres."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from linewatch.contracts.verdict import StripBox

MIN_OVERLAP = 0.1
_MEETINGS_AT_ONCE = 1 << 21  # pairs held at once, unless a single interval meets more


@dataclass(frozen=True, slots=True)
class Pair:
    """Indices of a found and a true instance that are the same defect; overlap: shared part of the smaller box."""

    found: int
    true: int
    overlap: float


@dataclass(frozen=True, slots=True)
class Matching:
    """Which found instances are right, and which true instances were found.

    pairs: sorted by (found, true). hit: true instances with at least one found instance on them, each listed once.
    right: found instances on at least one true instance, each listed once.
    """

    pairs: tuple[Pair, ...]
    hit: tuple[int, ...]
    right: tuple[int, ...]
    found_count: int
    true_count: int

    @property
    def recall(self) -> float:
        """Return the share of true instances that were found; 1 when there are none."""
        return len(self.hit) / self.true_count if self.true_count else 1.0

    @property
    def precision(self) -> float:
        """Return the share of found instances that are right; 1 when there are none."""
        return len(self.right) / self.found_count if self.found_count else 1.0


def match(
    found: Sequence[StripBox],
    true: Sequence[StripBox],
    *,
    tolerance_mm: float = 0.0,
    min_overlap: float = MIN_OVERLAP,
) -> Matching:
    """Pair every found box with every true box that it overlaps.

    Two boxes, the found one grown by `tolerance_mm` on all sides, are a pair when their overlap is positive and at
    least `min_overlap` of the smaller box's area. The smaller box is the reference so that a coarse box over a small
    defect counts, and so does a fragment of a large one; intersection over union would refuse both. Classes are
    ignored: compare them over the pairs.
    """
    grown = _corners(found) + np.array([-tolerance_mm, tolerance_mm, -tolerance_mm, tolerance_mm])
    truth = _corners(true)
    rows, columns, overlaps = _joined(
        _overlapping(grown, truth, i, j, min_overlap) for i, j in meetings(grown[:, 2:4], truth[:, 2:4])
    )
    order = np.lexsort((columns, rows))
    triples = zip(rows[order].tolist(), columns[order].tolist(), overlaps[order].tolist(), strict=True)
    return Matching(
        pairs=tuple(Pair(i, j, overlap) for i, j, overlap in triples),
        hit=tuple(np.unique(columns).tolist()),
        right=tuple(np.unique(rows).tolist()),
        found_count=len(found),
        true_count=len(true),
    )


def meetings(one: np.ndarray, other: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield indices (i, j) of all half-open intervals `one[i]` and `other[j]`, rows (begin, end), that overlap.

    Every pair comes once, in blocks, so memory follows the number of overlaps, not the product of both lengths.
    """
    # Of two overlapping intervals either the later begins within the earlier, or both begin at the same place.
    yield from _begin_within(one, other, "left")
    for j, i in _begin_within(other, one, "right"):
        yield i, j


def _begin_within(
    hosts: np.ndarray, guests: np.ndarray, side: Literal["left", "right"]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (host, guest) of all guests that begin within a host; at the host's own begin only for side "left"."""
    order = np.argsort(guests[:, 0], kind="stable")
    begins = guests[order, 0]
    first = np.searchsorted(begins, hosts[:, 0], side)
    counts = np.maximum(np.searchsorted(begins, hosts[:, 1], "left") - first, 0)
    ends = np.cumsum(counts)
    start = 0
    while start < len(hosts):
        before = ends[start] - counts[start]
        stop = max(start + 1, int(np.searchsorted(ends, before + _MEETINGS_AT_ONCE, "right")))
        window = counts[start:stop]
        host = np.repeat(np.arange(start, stop), window)
        guest = order[
            np.repeat(first[start:stop] - (ends[start:stop] - window - before), window) + np.arange(len(host))
        ]
        kept = guests[guest, 1] > guests[guest, 0]  # an empty interval overlaps nothing
        yield host[kept], guest[kept]
        start = stop


def _overlapping(
    grown: np.ndarray, truth: np.ndarray, i: np.ndarray, j: np.ndarray, min_overlap: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    shared = _overlap_mm(grown[i, 0:2], truth[j, 0:2]) * _overlap_mm(grown[i, 2:4], truth[j, 2:4])
    smaller = np.minimum(_area_mm2(grown)[i], _area_mm2(truth)[j])
    overlap = np.divide(shared, smaller, out=np.zeros_like(shared), where=smaller > 0)
    kept = (overlap >= min_overlap) & (shared > 0)
    return i[kept], j[kept], overlap[kept]


def _joined(parts: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows, columns, overlaps = zip((np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0)), *parts, strict=True)
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(overlaps)


def _corners(boxes: Sequence[StripBox]) -> np.ndarray:
    return np.array([(*box.across_mm, *box.along_mm) for box in boxes], dtype=np.float64).reshape(-1, 4)


def _overlap_mm(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.maximum(np.minimum(one[..., 1], other[..., 1]) - np.maximum(one[..., 0], other[..., 0]), 0.0)


def _area_mm2(corners: np.ndarray) -> np.ndarray:
    return (corners[:, 1] - corners[:, 0]) * (corners[:, 3] - corners[:, 2])
