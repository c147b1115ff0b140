"""Found defects against true ones, in strip millimetres. Comparing instances, not bytes or pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from linewatch.contracts.verdict import StripBox

MIN_OVERLAP = 0.1


@dataclass(frozen=True, slots=True)
class Pair:
    """`found[found]` and `true[true]` are the same defect; `overlap` is the part of the smaller box that both share."""

    found: int
    true: int
    overlap: float


@dataclass(frozen=True, slots=True)
class Matching:
    """Which found instances are right, and which true ones were found.

    pairs: by (found, true). hit: true instances with any found one on them, each counted once however many pieces hit
    it.
    right: found instances on any true one, each counted once however many it covers.
    """

    pairs: tuple[Pair, ...]
    hit: tuple[int, ...]
    right: tuple[int, ...]
    found_count: int
    true_count: int

    @property
    def recall(self) -> float:
        """Share of the true instances that were found; 1 when there are none."""
        return len(self.hit) / self.true_count if self.true_count else 1.0

    @property
    def precision(self) -> float:
        """Share of the found instances that are right; 1 when there are none."""
        return len(self.right) / self.found_count if self.found_count else 1.0


def match(
    found: Sequence[StripBox],
    true: Sequence[StripBox],
    *,
    tolerance_mm: float = 0.0,
    min_overlap: float = MIN_OVERLAP,
) -> Matching:
    """Pair every found box with every true box that it shares ground with.

    Two boxes, the found one grown by `tolerance_mm` on all sides, are a pair when they overlap by at least
    `min_overlap` of the smaller one's area (and by more than nothing). Of the smaller: so a coarse box over a small
    defect counts, and so does a fragment of a large one; intersection over union would refuse both. Classes are not
    asked: compare them over the pairs.
    """
    grown = _corners(found) + np.array([-tolerance_mm, tolerance_mm, -tolerance_mm, tolerance_mm])
    truth = _corners(true)
    shared = _overlap_mm(grown[:, None, 0:2], truth[None, :, 0:2]) * _overlap_mm(
        grown[:, None, 2:4], truth[None, :, 2:4]
    )
    smaller = np.minimum(_area_mm2(grown)[:, None], _area_mm2(truth)[None, :])
    overlap = np.divide(shared, smaller, out=np.zeros_like(shared), where=smaller > 0)
    rows, columns = np.nonzero((overlap >= min_overlap) & (shared > 0))
    return Matching(
        pairs=tuple(Pair(int(i), int(j), float(overlap[i, j])) for i, j in zip(rows, columns, strict=True)),
        hit=tuple(np.unique(columns).tolist()),
        right=tuple(np.unique(rows).tolist()),
        found_count=len(found),
        true_count=len(true),
    )


def _corners(boxes: Sequence[StripBox]) -> np.ndarray:
    return np.array([(*box.across_mm, *box.along_mm) for box in boxes], dtype=np.float64).reshape(-1, 4)


def _overlap_mm(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.maximum(np.minimum(one[..., 1], other[..., 1]) - np.maximum(one[..., 0], other[..., 0]), 0.0)


def _area_mm2(corners: np.ndarray) -> np.ndarray:
    return (corners[:, 1] - corners[:, 0]) * (corners[:, 3] - corners[:, 2])
