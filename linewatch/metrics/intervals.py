"""95 % intervals: the bootstrap over groups of samples, and the exact intervals of counts.

A group is drawn whole: near-duplicates, tiles of one frame and crops of one image are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linewatch.metrics.result import EvaluationResult, Interval

Metrics = Mapping[str, float | None]
"""Metrics by dotted name (see `EvaluationResult`)."""

DRAWS = 1000
FEWEST_DEFINED = 0.5
"""A metric that is defined in fewer than this share of the draws gets no interval."""

SHARES = ("top1", "exact", "count_exact")
"""Metrics that are the share of correct samples."""


def resamples(groups: Sequence[object] | ArrayLike, draws: int, seed: int) -> Iterator[NDArray[np.intp]]:
    """Yield the sample indices of each draw: whole groups, drawn with replacement, as many as there are groups."""
    group = np.unique(np.asarray(groups), return_inverse=True)[1].ravel()
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    starts = np.cumsum(sizes) - sizes
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        drawn = rng.integers(len(sizes), size=len(sizes))
        within = np.arange(sizes[drawn].sum()) - np.repeat(np.cumsum(sizes[drawn]) - sizes[drawn], sizes[drawn])
        yield order[np.repeat(starts[drawn], sizes[drawn]) + within]


def intervals(
    metrics: Callable[[NDArray[np.intp]], Metrics],
    groups: Sequence[object] | ArrayLike,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return the 2.5th and 97.5th percentile of each metric over `draws` resamples.

    `metrics(indices)` returns the metrics of the samples at `indices`, which may repeat; `groups` (n,) names the group
    of each sample. Draws in which a metric is undefined do not count for it. The same seed gives the same intervals.
    Fewer than two groups have none.
    """
    if len(np.unique(np.asarray(groups))) < 2:
        return {}
    found: dict[str, list[float]] = {}
    for indices in resamples(groups, draws, seed):
        for name, value in metrics(indices).items():
            if value is not None:
                found.setdefault(name, []).append(value)
    return {
        name: (float(np.percentile(values, 2.5)), float(np.percentile(values, 97.5)))
        for name, values in found.items()
        if len(values) >= FEWEST_DEFINED * draws
    }


def bounded(
    name: str, metric: Callable[[NDArray[np.intp]], float | None], groups: Sequence[object] | ArrayLike
) -> dict[str, float]:
    """Return the metric of all samples under `name`, and its interval as `name_low` and `name_high` where it has one.

    `metric(indices)` returns the metric of the samples at `indices`, None where it is undefined; no samples have none.
    """
    count = len(np.asarray(groups))
    value = metric(np.arange(count)) if count else None
    if value is None:
        return {}
    low_high = intervals(lambda at: {name: metric(at)}, groups).get(name)
    ends = {} if low_high is None else {f"{name}_low": low_high[0], f"{name}_high": low_high[1]}
    return {name: value, **ends}


def with_intervals(
    evaluate: Callable[[NDArray[np.intp]], EvaluationResult],
    groups: Sequence[object] | ArrayLike,
    draws: int = DRAWS,
    seed: int = 0,
) -> EvaluationResult:
    """Return `evaluate` of all samples, with the interval of every metric that it defines. `draws` = 0: no intervals.

    Where every draw gives the same value (no error at all, say) the bootstrap is blind. A share of samples at 0 or 1
    then gets the exact one-sided bound for as many groups (300 groups without an error: 0.990 or more), any other
    metric no interval.
    """
    result = evaluate(np.arange(len(np.asarray(groups))))
    found = intervals(lambda indices: evaluate(indices).metrics(), groups, draws, seed)
    unseen = most_unseen(len(np.unique(np.asarray(groups))))
    ends: dict[str, Interval] = {}
    for name, value in result.metrics().items():
        low, high = found.get(name, (value, value))
        if low < high:
            ends[name] = (low, high)
        elif name in found and name in SHARES and value in (0.0, 1.0):
            ends[name] = (1 - unseen, 1.0) if value else (0.0, unseen)
    return result.model_copy(update={"intervals": ends})


@dataclass(frozen=True)
class PairedDifference:
    """A second network against a first on the same images.

    difference: the mean of second minus first. improved: the share of images on which the second is better. The
    intervals are None where there are fewer than two groups.
    """

    difference: float
    interval: Interval | None
    improved: float
    improved_interval: Interval | None


def paired(
    first: ArrayLike,
    second: ArrayLike,
    groups: Sequence[object] | ArrayLike | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> PairedDifference:
    """Compare one metric of two networks, given per image, (n,) each, both in the same order of images; `n` >= 1.

    An image where both do equally well is not improved, as in Damacharla et al., fig. 9.
    """
    differences = np.asarray(second, np.float64) - np.asarray(first, np.float64)

    def metrics(indices: NDArray[np.intp]) -> dict[str, float]:
        drawn = differences[indices]
        return {"difference": float(drawn.mean()), "improved": float((drawn > 0).mean())}

    everything = np.arange(len(differences))
    point = metrics(everything)
    found = intervals(metrics, everything if groups is None else groups, draws, seed)
    return PairedDifference(point["difference"], found.get("difference"), point["improved"], found.get("improved"))


def most_unseen(count: int) -> float:
    """Return the exact one-sided 95 % upper bound of the share of an event that none of `count` samples showed."""
    return 1 - 0.05 ** (1 / max(count, 1))


@dataclass(frozen=True)
class Rate:
    """Events on an area, and their rate per 1,000 m2 with its exact 95 % interval (Garwood 1936)."""

    count: int
    area_m2: float

    @property
    def per_1000_m2(self) -> float:
        return 1000 * self.count / self.area_m2 if self.area_m2 else math.nan

    @property
    def interval(self) -> Interval:
        low, high = poisson_interval(self.count)
        return 1000 * low / self.area_m2, 1000 * high / self.area_m2

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.count} on {self.area_m2:,.1f} m2: {self.per_1000_m2:,.2f} ({low:,.2f} to {high:,.2f})"


@dataclass(frozen=True)
class Share:
    """Hits among `count` trials, with the exact 95 % interval of their share (Clopper and Pearson 1934)."""

    hits: int
    count: int

    @property
    def value(self) -> float:
        return self.hits / self.count if self.count else math.nan

    @property
    def interval(self) -> Interval:
        return binomial_interval(self.hits, self.count)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.hits} of {self.count} ({self.value:.1%}; {low:.1%} to {high:.1%})"


def poisson_interval(count: int, level: float = 0.95) -> Interval:
    """Return the exact two-sided interval of the mean of a Poisson count."""
    from scipy.stats import chi2

    tail = (1 - level) / 2
    return (float(chi2.ppf(tail, 2 * count)) / 2 if count else 0.0), float(chi2.isf(tail, 2 * count + 2)) / 2


def binomial_interval(hits: int, count: int, level: float = 0.95) -> Interval:
    """Return the exact two-sided interval of a share; (0, 1) without any trial."""
    from scipy.stats import binomtest

    if not count:
        return 0.0, 1.0
    found = binomtest(hits, count).proportion_ci(level, method="exact")
    return float(found.low), float(found.high)
