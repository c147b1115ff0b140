"""One class against the rest, and what is made of several such: the arithmetic that every judging shares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torchmetrics.functional.classification import binary_auroc, multiclass_confusion_matrix

from linewatch.contracts.errors import LinewatchError
from linewatch.metrics.judgement import ClassFigures


class NotFinite(LinewatchError):
    """A network gave scores that are not numbers."""


def finite(scores: ArrayLike) -> NDArray[np.float64]:
    """`scores` as float64; `NotFinite` if any is nan or infinite."""
    found = np.asarray(scores, np.float64)
    bad = np.flatnonzero(~np.isfinite(found).all(tuple(range(1, found.ndim))))
    if len(bad):
        raise NotFinite(
            f"the network gave scores that are not finite for {len(bad)} of {len(found)} samples (the first: number "
            f"{bad[0]}), expected numbers: training diverged or the weights are damaged; train again at a lower rate"
        )
    return found


def ratio(part: float, whole: float) -> float | None:
    """`part / whole`, or None of nothing."""
    return float(part) / float(whole) if whole else None


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of those that are defined, or None."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def auc(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve, ties counting half; None unless both kinds of `truth` (n,) occur."""
    if not truth.any() or truth.all():
        return None
    # Only the order counts: ranks keep scores outside [0, 1] from being taken for logits.
    rank = np.unique(scores, return_inverse=True)[1].ravel() / max(len(scores), 1)
    found = binary_auroc(torch.from_numpy(rank), torch.from_numpy(truth.astype(np.int64)), validate_args=False)
    return float(found)


def class_figures(
    called: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    scores: NDArray[np.float64] | None = None,
    threshold: float | None = None,
) -> ClassFigures:
    """Figures of one class from what was called and what is true, bool (n,); AUC from `scores` (n,) if given."""
    right = int((called & truth).sum())
    support, calls = int(truth.sum()), int(called.sum())
    return ClassFigures(
        support=support,
        accuracy=ratio((called == truth).sum(), len(truth)),
        precision=ratio(right, calls),
        recall=ratio(right, support),
        f1=ratio(2 * right, support + calls),
        auc=None if scores is None else auc(scores, truth),
        threshold=threshold,
    )


def confusion(truth: NDArray[np.intp], called: NDArray[np.intp], classes: int) -> tuple[tuple[int, ...], ...]:
    """Counts (rows true, columns called) of class numbers (n,)."""
    counts = multiclass_confusion_matrix(
        torch.from_numpy(called), torch.from_numpy(truth), classes, validate_args=False
    )
    return tuple(tuple(int(cell) for cell in row) for row in counts.tolist())


def one_per_sample(count: int, groups: Sequence[object] | ArrayLike | None) -> NDArray[np.generic]:
    """`groups` as an array (count,), each sample its own if there are none; `ValueError` if they are not as many."""
    found = np.arange(count) if groups is None else np.asarray(groups)
    if len(found) != count:
        raise ValueError(f"{len(found)} groups for {count} samples")
    return found
