"""Metrics of one class against the rest, and helpers that every evaluation shares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linewatch.contracts.errors import LinewatchError
from linewatch.metrics.curves import auc
from linewatch.metrics.result import ClassMetrics


class NotFinite(LinewatchError):
    """A network returned scores that are nan or infinite."""


def finite(scores: ArrayLike) -> NDArray[np.float64]:
    """Return `scores` as float64; raise `NotFinite` if any is nan or infinite."""
    found = np.asarray(scores, np.float64)
    bad = np.flatnonzero(~np.isfinite(found).all(tuple(range(1, found.ndim))))
    if len(bad):
        raise NotFinite(
            f"the network gave scores that are not finite for {len(bad)} of {len(found)} samples (the first: number "
            f"{bad[0]}), expected numbers: training diverged or the weights are damaged; train again at a lower rate"
        )
    return found


def ratio(part: float, whole: float) -> float | None:
    """Return `part / whole`, or None if `whole` is 0."""
    return float(part) / float(whole) if whole else None


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are defined, or None if none is."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def class_metrics(
    called: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    scores: NDArray[np.float64] | None = None,
    threshold: float | None = None,
) -> ClassMetrics:
    """Return the metrics of one class from calls and truth, bool (n,); AUC needs `scores` (n,)."""
    hits = int((called & truth).sum())
    support, calls = int(truth.sum()), int(called.sum())
    return ClassMetrics(
        support=support,
        accuracy=ratio((called == truth).sum(), len(truth)),
        precision=ratio(hits, calls),
        recall=ratio(hits, support),
        f1=ratio(2 * hits, support + calls),
        auc=None if scores is None else auc(scores, truth),
        threshold=threshold,
    )


def macro(per_class: Iterable[ClassMetrics]) -> dict[str, Any]:
    """Return precision, recall, F1 and AUC, each the mean over the classes where it is defined."""
    each = list(per_class)
    return {name: mean(getattr(one, name) for one in each) for name in ("precision", "recall", "f1", "auc")}


def confusion(truth: NDArray[np.intp], called: NDArray[np.intp], classes: int) -> tuple[tuple[int, ...], ...]:
    """Return the confusion matrix of class numbers (n,): rows true, columns called."""
    counts = np.bincount(truth * classes + called, minlength=classes * classes).reshape(classes, classes)
    return tuple(tuple(row) for row in counts.tolist())


def one_per_sample(count: int, groups: Sequence[object] | ArrayLike | None) -> NDArray[np.generic]:
    """Return `groups` as an array (count,); without groups each sample is its own. `ValueError` for another length."""
    found = np.arange(count) if groups is None else np.asarray(groups)
    if len(found) != count:
        raise ValueError(f"{len(found)} groups for {count} samples")
    return found
