"""Operating points of a cascade: the limits that a defect must reach before it is called.

There are limits on the classifier's score, the segmenter's peak and the defect's size. They are chosen together, per
class, on images that the evaluated engines have not seen, so that the most true pieces are found within a budget of
false instances on clean strip.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.findings import MISLABELLED, CascadeFinding, Findings
from linewatch.contracts.manifest import CallLimit
from linewatch.metrics.intervals import Rate, Share

CONFIDENCES = (0.0, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)
PEAKS = (0.0, 0.9, 0.97, 0.99)
AREAS_PX = (0, 50, 100, 200, 400, 800, 1600)

SLACK = 0.1
"""Of the limits that find at most this share less than the best, the strictest are taken: unseen clean strip has more
false instances than the strip that the limits are chosen on.
"""
USEFUL = 0.1
"""A class keeps at least this share of its finds without limits; if the budget leaves less, it is exceeded by as little
as possible.
"""

Limits = Mapping[str, CallLimit]


def calls(found: CascadeFinding, limits: Limits, mm2_per_px: float) -> bool:
    """Return whether a closed defect is called at these limits, as `DecisionRules` decides."""
    limit = limits.get(found.defect_class)
    return limit is None or (
        found.confidence >= limit.confidence
        and (found.tile or found.peak >= limit.peak)
        and found.area_mm2 >= limit.area_px * mm2_per_px
    )


def choose(
    findings: Sequence[Findings], classes: Sequence[str], budget: float, mm2_per_px: float
) -> dict[str, CallLimit]:
    """Return the limits of each class for at most `budget` false instances per 1,000 m2; none for no budget.

    The budget holds on every source of clean strip in `findings`, without frames whose label is known to be wrong.
    """
    if math.isinf(budget):
        return {}
    return {name: _choose_class(_Evidence.of(findings, name), budget, mm2_per_px) for name in classes}


@dataclass(frozen=True)
class _Evidence:
    """The defects of one class.

    values: float64 (n, 3), confidence, peak, area in mm2. pieces: int64 (m, 3), rows (defect, true piece, source).
    sources: int64 (n,), the clean source on which the defect is false, or -1. area_m2: of each clean source.
    """

    values: NDArray[np.float64]
    pieces: NDArray[np.int64]
    sources: NDArray[np.int64]
    area_m2: NDArray[np.float64]

    @classmethod
    def of(cls, findings: Sequence[Findings], name: str) -> _Evidence:
        kinds = sorted({one.source for one in findings if any(one.clean)})
        grounds = sorted({one.source for one in findings if one.true})
        area = np.zeros(len(kinds))
        values: list[tuple[float, float, float]] = []
        pieces: list[tuple[int, int, int]] = []
        sources: list[int] = []
        base = 0
        for one in findings:
            counted = [clean and file not in MISLABELLED for clean, file in zip(one.clean, one.frames, strict=True)]
            if any(counted):
                area[kinds.index(one.source)] += sum(counted) * one.area_m2
            for found in one.found:
                false = counted[found.frame] and not found.true
                if found.defect_class != name or not (false or found.true):
                    continue
                pieces += [(len(values), base + true, grounds.index(one.source)) for true in found.true]
                values.append((found.confidence, 1.0 if found.tile else found.peak, found.area_mm2))
                sources.append(kinds.index(one.source) if false else -1)
            base += len(one.true)
        return cls(
            np.array(values, np.float64).reshape(-1, 3),
            np.array(pieces, np.int64).reshape(-1, 3),
            np.array(sources, np.int64),
            area,
        )

    def found(self, called: NDArray[np.bool_]) -> float:
        """Return the share of the true pieces that the class finds without limits, averaged over their sources."""
        return (
            float(np.mean(self._counts(called) / self._counts(np.ones(len(called), bool)))) if len(self.pieces) else 0.0
        )

    def _counts(self, called: NDArray[np.bool_]) -> NDArray[np.int64]:
        _, first = np.unique(self.pieces[mine := called[self.pieces[:, 0]], 1], return_index=True)
        every = np.bincount(self.pieces[mine, 2][first], minlength=self.pieces[:, 2].max() + 1)
        return every[np.unique(self.pieces[:, 2])]

    def rate(self, called: NDArray[np.bool_]) -> float:
        """Return the false instances per 1,000 m2 of the worst source."""
        false = self.sources[called & (self.sources >= 0)]
        rates = 1000 * np.bincount(false, minlength=len(self.area_m2)) / np.maximum(self.area_m2, 1e-9)
        return float(rates.max(initial=0.0))


def _choose_class(evidence: _Evidence, budget: float, mm2_per_px: float) -> CallLimit:
    grid = np.array(list(itertools.product(CONFIDENCES, PEAKS, AREAS_PX)))
    called = [np.all(evidence.values >= step * (1, 1, mm2_per_px), axis=1) for step in grid]
    found, rates = np.array([evidence.found(one) for one in called]), np.array([evidence.rate(one) for one in called])
    within = rates <= budget
    if found[within].max() < USEFUL * found.max():
        useful = found >= USEFUL * found.max()
        within = useful & (rates <= rates[useful].min())
    kept = np.flatnonzero(within & (found >= found[within].max() - SLACK))
    strictest = max(kept.tolist(), key=lambda at: tuple(grid[at]))
    confidence, peak, area_px = grid[strictest].tolist()
    return CallLimit(confidence=confidence, peak=peak, area_px=round(area_px))


@dataclass(frozen=True)
class CascadeMetrics:
    """The metrics of a cascade over findings, each with limits that `choose` made without them."""

    parts: Sequence[tuple[Findings, Limits]]
    mm2_per_px: float

    def false_calls(self, source: str, *, mislabelled: bool = True) -> dict[str, Rate]:
        """Return the false instances on the clean frames of a source, by class and under `all`.

        mislabelled: frames whose label is known to be wrong count, too.
        """
        names, area = [], 0.0
        for findings, limits in self._of(source):
            counted = [
                clean and (mislabelled or file not in MISLABELLED)
                for clean, file in zip(findings.clean, findings.frames, strict=True)
            ]
            area += sum(counted) * findings.area_m2
            names += [
                one.defect_class
                for one in findings.false()
                if counted[one.frame] and calls(one, limits, self.mm2_per_px)
            ]
        return {name: Rate(names.count(name), area) for name in sorted(set(names))} | {"all": Rate(len(names), area)}

    def recall(self, source: str) -> dict[str, Share]:
        """Return the share of a source's true pieces with any call on them, by their class and under `all`."""
        true: list[str] = []
        hit: list[str] = []
        for findings, limits in self._of(source):
            numbers = {n for one in findings.found if calls(one, limits, self.mm2_per_px) for n in one.true}
            true += findings.true
            hit += [findings.true[number] for number in numbers]
        return {name: Share(hit.count(name), true.count(name)) for name in sorted(set(true))} | {
            "all": Share(len(hit), len(true))
        }

    def _of(self, source: str) -> list[tuple[Findings, Limits]]:
        return [(findings, limits) for findings, limits in self.parts if findings.source == source]
