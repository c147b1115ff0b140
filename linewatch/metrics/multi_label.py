"""Metrics of networks that give an image several labels.

As in Konovalenko et al. (ResNets, tables 2 and 3, fig. 3) and Damacharla et al. (the classifier of TLU-Net: MLA, AUC
per class, threshold 0.5). MLA, "the proportion of the predicted correct labels to a total number of labels", is the
mean over the classes of the "acc" of Konovalenko's table 2. (Their 97.3 % "average binary accuracy" is not the mean of
their 0.976, 0.945 and 0.993, which is 0.971; take the table.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linewatch.metrics.classes import class_metrics, confusion, finite, macro, one_per_sample, ratio
from linewatch.metrics.curves import DEFAULT_THRESHOLD, threshold_by_f1
from linewatch.metrics.intervals import DRAWS, with_intervals
from linewatch.metrics.result import EvaluationResult
from linewatch.metrics.windows import recall_at_pass_rates

DEFECT_FREE = "defect-free"


def thresholds_by_f1(probabilities: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Return (C,): per class `curves.threshold_by_f1` of probabilities and truth, (n, C) each.

    Choose thresholds on validation data and use them on test data (Konovalenko et al., sec. 4).
    """
    scores, true = finite(probabilities), np.asarray(truth, bool)
    return np.array([threshold_by_f1(scores[:, k], true[:, k]) for k in range(scores.shape[1])])


def evaluate(
    probabilities: ArrayLike,
    truth: ArrayLike,
    classes: Sequence[str],
    thresholds: ArrayLike = DEFAULT_THRESHOLD,
    groups: Sequence[object] | ArrayLike | None = None,
    paper: Mapping[str, float] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    task: str = "multi-label",
) -> EvaluationResult:
    """Evaluate probabilities (n, C) against truth, bool (n, C), at one threshold or one per class.

    A class is called at or above its threshold. A sample without any class is defect-free. The confusion matrix counts
    the samples with at most one true class, as in the paper; a sample called several classes counts as the one with the
    highest probability. `recall_at_pass_rate` separates samples with and without a defect by their highest probability.
    `groups` (n,): the image or frame that each sample (crop) comes from.
    """
    scores, true = finite(probabilities), np.asarray(truth, bool)
    if scores.shape != true.shape or scores.shape[1:] != (len(classes),):
        raise ValueError(f"probabilities {scores.shape} and truth {true.shape}: expected (n, {len(classes)}) of both")
    named, claims = tuple(classes), dict(paper or {})
    least = np.broadcast_to(np.asarray(thresholds, np.float64), len(named))
    calls = scores >= least

    def evaluated(at: NDArray[np.intp]) -> EvaluationResult:
        score, is_true, called = scores[at], true[at], calls[at]
        per_class = {
            name: class_metrics(called[:, k], is_true[:, k], score[:, k], float(least[k]))
            for k, name in enumerate(named)
        }
        highest = score.max(1)
        defect, defect_called = np.any(is_true, axis=1), np.any(called, axis=1)
        return EvaluationResult(
            count=len(at),
            task=task,
            classes=named,
            **macro(per_class.values()),
            per_class=per_class,
            mla=ratio((called == is_true).sum(), is_true.size),
            exact=ratio((called == is_true).all(1).sum(), len(at)),
            defect_free=class_metrics(~defect_called, ~defect, -highest),
            confusion=_confusion(score, called, is_true),
            confusion_classes=(*named, DEFECT_FREE),
            recall_at_pass_rate=recall_at_pass_rates(highest, defect),
            paper=claims,
        )

    return with_intervals(evaluated, one_per_sample(len(true), groups), draws, seed)


def _confusion(
    scores: NDArray[np.float64], called: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> tuple[tuple[int, ...], ...]:
    classes = truth.shape[1]
    plain = truth.sum(1) <= 1
    one_true = np.where(truth.any(1), truth.argmax(1), classes)[plain]
    one_called = np.where(called.any(1), np.where(called, scores, -np.inf).argmax(1), classes)[plain]
    return confusion(one_true, one_called, classes + 1)
