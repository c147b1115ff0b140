"""Operating points of a cascade: how sure it must be of a defect, as a whole, before it calls it.

How sure it is shows in its classifier's score, its segmenter's peak and its size. The limits on the three are chosen
together, per class, on pictures that the judged engines have not seen, so that the most true pieces are found within a
budget of false instances on clean strip.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from linewatch.contracts.manifest import CallLimit
from linewatch.evaluation.findings import MISLABELLED, Found, Looked

CONFIDENCES = (0.0, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)
PEAKS = (0.0, 0.9, 0.97, 0.99)
AREAS_PX = (0, 50, 100, 200, 400, 800, 1600)

SLACK = 0.1
"""Of the limits that find as much but for this share, the strictest are taken: clean strip that nobody has seen yet is
worse than that which chose them.
"""
USEFUL = 0.1
"""A class keeps at least this share of what it finds without limits: where the budget leaves less, it is exceeded by as
little as that takes.
"""

Limits = Mapping[str, CallLimit]


def calls(found: Found, limits: Limits, mm2_per_px: float) -> bool:
    """Whether a closed defect is called at these limits, as `DecisionRules` decides it."""
    limit = limits.get(found.defect_class)
    return limit is None or (
        found.confidence >= limit.confidence
        and (found.tile or found.peak >= limit.peak)
        and found.area_mm2 >= limit.area_px * mm2_per_px
    )


def choose(looked: Sequence[Looked], classes: Sequence[str], budget: float, mm2_per_px: float) -> dict[str, CallLimit]:
    """Of each class: at most `budget` false instances per 1,000 m2 on every source of clean strip in `looked` (frames
    whose label is known to be wrong left out), where that leaves a useful share. No budget, no limits.
    """
    if math.isinf(budget):
        return {}
    return {name: _choose_class(_Evidence.of(looked, name), budget, mm2_per_px) for name in classes}


@dataclass(frozen=True)
class _Evidence:
    """Defects of one class. values: float64 (n, 3) confidence, peak, area in mm2. pieces: int64 (m, 3), rows (defect,
    true piece, source). sources: int64 (n,) of the clean source on which it is false, or -1. area_m2: of each clean
    source.
    """

    values: NDArray[np.float64]
    pieces: NDArray[np.int64]
    sources: NDArray[np.int64]
    area_m2: NDArray[np.float64]

    @classmethod
    def of(cls, looked: Sequence[Looked], name: str) -> _Evidence:
        kinds = sorted({one.source for one in looked if any(one.clean)})
        grounds = sorted({one.source for one in looked if one.true})
        area = np.zeros(len(kinds))
        values: list[tuple[float, float, float]] = []
        pieces: list[tuple[int, int, int]] = []
        sources: list[int] = []
        base = 0
        for one in looked:
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
        """Share of the true pieces that this class finds at all, averaged over the sources that it finds some on, so
        that none outvotes another.
        """
        return (
            float(np.mean(self._counts(called) / self._counts(np.ones(len(called), bool)))) if len(self.pieces) else 0.0
        )

    def _counts(self, called: NDArray[np.bool_]) -> NDArray[np.int64]:
        _, first = np.unique(self.pieces[mine := called[self.pieces[:, 0]], 1], return_index=True)
        every = np.bincount(self.pieces[mine, 2][first], minlength=self.pieces[:, 2].max() + 1)
        return every[np.unique(self.pieces[:, 2])]

    def rate(self, called: NDArray[np.bool_]) -> float:
        """False instances per 1,000 m2, of the worst source."""
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
class Rate:
    """Events on an area, and their rate per 1,000 m2 with its exact 95 % interval (Garwood 1936)."""

    count: int
    area_m2: float

    @property
    def per_1000_m2(self) -> float:
        return 1000 * self.count / self.area_m2 if self.area_m2 else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        low, high = poisson_interval(self.count)
        return 1000 * low / self.area_m2, 1000 * high / self.area_m2

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.count} on {self.area_m2:,.1f} m2: {self.per_1000_m2:,.2f} ({low:,.2f} to {high:,.2f})"


@dataclass(frozen=True)
class Share:
    """Hits among so many, with the exact 95 % interval (Clopper and Pearson 1934)."""

    hits: int
    count: int

    @property
    def value(self) -> float:
        return self.hits / self.count if self.count else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        return binomial_interval(self.hits, self.count)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.hits} of {self.count} ({self.value:.1%}; {low:.1%} to {high:.1%})"


@dataclass(frozen=True)
class Judged:
    """Sources, each with the limits that are judged on it: `choose` has not seen it."""

    parts: Sequence[tuple[Looked, Limits]]
    mm2_per_px: float

    def false_calls(self, source: str, *, mislabelled: bool = True) -> dict[str, Rate]:
        """By class, and of all classes under `all`: false instances on the clean frames of a source. mislabelled:
        frames whose label is known to be wrong count, too.
        """
        names, area = [], 0.0
        for looked, limits in self._of(source):
            counted = [
                clean and (mislabelled or file not in MISLABELLED)
                for clean, file in zip(looked.clean, looked.frames, strict=True)
            ]
            area += sum(counted) * looked.area_m2
            names += [
                one.defect_class for one in looked.false() if counted[one.frame] and calls(one, limits, self.mm2_per_px)
            ]
        return {name: Rate(names.count(name), area) for name in sorted(set(names))} | {"all": Rate(len(names), area)}

    def recall(self, source: str) -> dict[str, Share]:
        """By class of the true piece, and of all under `all`: pieces of a source with any call on them."""
        true: list[str] = []
        hit: list[str] = []
        for looked, limits in self._of(source):
            numbers = {n for one in looked.found if calls(one, limits, self.mm2_per_px) for n in one.true}
            true += looked.true
            hit += [looked.true[number] for number in numbers]
        return {name: Share(hit.count(name), true.count(name)) for name in sorted(set(true))} | {
            "all": Share(len(hit), len(true))
        }

    def _of(self, source: str) -> list[tuple[Looked, Limits]]:
        return [(looked, limits) for looked, limits in self.parts if looked.source == source]


def poisson_interval(count: int, level: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of the mean of a Poisson count."""
    tail = (1 - level) / 2

    def at_most(k: int, mean: float) -> float:
        return sum(math.exp(i * math.log(mean) - mean - math.lgamma(i + 1)) for i in range(k + 1)) if mean else 1.0

    most = 10.0 + count + 10 * math.sqrt(count + 1)
    low = 0.0 if not count else _root(lambda mean: 1 - at_most(count - 1, mean) - tail, 0.0, most)
    return low, _root(lambda mean: tail - at_most(count, mean), 0.0, most)


def binomial_interval(hits: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of a share; (0, 1) of nothing."""
    tail = (1 - level) / 2

    def at_most(k: int, share: float) -> float:
        if share in (0.0, 1.0):
            return float(share == 0.0 or k >= count)
        logs = (
            math.lgamma(count + 1) - math.lgamma(i + 1) - math.lgamma(count - i + 1)
            + i * math.log(share) + (count - i) * math.log1p(-share)
            for i in range(k + 1)
        )  # fmt: skip
        return sum(map(math.exp, logs))

    low = 0.0 if not hits else _root(lambda share: 1 - at_most(hits - 1, share) - tail, 0.0, 1.0)
    high = 1.0 if hits == count else _root(lambda share: tail - at_most(hits, share), 0.0, 1.0)
    return low, high


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function is zero, by halving."""
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2
