"""95 % bootstrap intervals over groups: near-duplicates, tiles of a frame and crops of an image are drawn together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linewatch.metrics.judgement import Interval, Judgement

Figures = Mapping[str, float | None]
"""Figures by dotted name (see `Judgement`)."""

DRAWS = 1000
FEWEST_DEFINED = 0.5
"""An interval of a figure that fewer of the draws than this define would say little: there is none."""

SHARES = ("top1", "exact", "count_exact")
"""Figures that are the share of samples with something right."""


def resamples(groups: Sequence[object] | ArrayLike, draws: int, seed: int) -> Iterator[NDArray[np.intp]]:
    """Indices of the samples of each draw: as many groups as there are, drawn with replacement, whole."""
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
    figures: Callable[[NDArray[np.intp]], Figures],
    groups: Sequence[object] | ArrayLike,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Interval]:
    """The 2.5th and 97.5th percentile of each figure over `draws` resamples.

    `figures(indices)` gives the figures of the samples at `indices` (repeats allowed); `groups` names the group of each
    sample. Draws where a figure is not defined do not count for it; where most are so, the figure has no interval. The
    same seed gives the same intervals. Fewer than two groups have none.
    """
    if len(np.unique(np.asarray(groups))) < 2:
        return {}
    found: dict[str, list[float]] = {}
    for indices in resamples(groups, draws, seed):
        for name, value in figures(indices).items():
            if value is not None:
                found.setdefault(name, []).append(value)
    return {
        name: (float(np.percentile(values, 2.5)), float(np.percentile(values, 97.5)))
        for name, values in found.items()
        if len(values) >= FEWEST_DEFINED * draws
    }


def with_intervals(
    judge: Callable[[NDArray[np.intp]], Judgement],
    groups: Sequence[object] | ArrayLike,
    draws: int = DRAWS,
    seed: int = 0,
) -> Judgement:
    """`judge` of all samples, with the interval of every figure that it defines. `draws` = 0: no intervals.

    Where every draw says the same (no error at all, say) the bootstrap knows nothing. A share of samples at 0 or 1 then
    gets the exact one-sided 95 % bound of as many groups (300 groups without an error: 0.990 or more), any other figure
    no interval.
    """
    point = judge(np.arange(len(np.asarray(groups))))
    found = intervals(lambda indices: judge(indices).figures(), groups, draws, seed)
    unseen = 1 - 0.05 ** (1 / max(len(np.unique(np.asarray(groups))), 1))
    told: dict[str, Interval] = {}
    for name, value in point.figures().items():
        low, high = found.get(name, (value, value))
        if low < high:
            told[name] = (low, high)
        elif name in found and name in SHARES and value in (0.0, 1.0):
            told[name] = (1 - unseen, 1.0) if value else (0.0, unseen)
    return point.model_copy(update={"intervals": told})


@dataclass(frozen=True)
class Paired:
    """A second network against a first on the same images: mean of the differences (second minus first), and the share
    of images on which the second does better, each with its interval (None where there are fewer than two groups).
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
) -> Paired:
    """Compare one figure of two networks, given per image, (n,) each, both in the same order of images; `n` >= 1.

    An image where both do equally well is not improved, as in Damacharla et al., fig. 9.
    """
    differences = np.asarray(second, np.float64) - np.asarray(first, np.float64)

    def figures(indices: NDArray[np.intp]) -> Figures:
        drawn = differences[indices]
        return {"difference": float(drawn.mean()), "improved": float((drawn > 0).mean())}

    everything = np.arange(len(differences))
    point = figures(everything)
    found = intervals(figures, everything if groups is None else groups, draws, seed)
    return Paired(
        float(point["difference"] or 0.0),
        found.get("difference"),
        float(point["improved"] or 0.0),
        found.get("improved"),
    )
