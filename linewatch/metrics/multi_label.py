"""Several labels per image, as Konovalenko et al. judge their ResNets (tables 2 and 3, fig. 3), and Damacharla et al.
the classifier of TLU-Net (MLA, AUC per class, threshold 0.5).

MLA, "the proportion of the predicted correct labels to a total number of labels", is the mean over the classes of what
Konovalenko's table 2 calls acc. (Their 97.3 % "average binary accuracy" is not the mean of their 0.976, 0.945 and
0.993, which is 0.971; take the table.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torchmetrics.functional.classification import binary_precision_recall_curve

from linewatch.metrics.classes import class_figures, confusion, finite, mean, one_per_sample, ratio
from linewatch.metrics.intervals import DRAWS, with_intervals
from linewatch.metrics.judgement import Judgement
from linewatch.metrics.windows import recall_at_pass_rates

DEFECT_FREE = "defect-free"
PLAIN_THRESHOLD = 0.5


def thresholds_by_f1(probabilities: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """(C,) the threshold per class with the highest F1 on probabilities and truth, (n, C) each: half-way between the
    lowest score that is called and the next below it; 0.5 for a class that never occurs.

    To be found on validation data and used on test data (Konovalenko et al., sec. 4).
    """
    scores, true = finite(probabilities), np.asarray(truth, bool)
    return np.array([_best_f1(scores[:, k], true[:, k]) for k in range(scores.shape[1])])


def _best_f1(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    if not truth.any():
        return PLAIN_THRESHOLD
    values, rank = np.unique(scores, return_inverse=True)
    # Ranks instead of scores: torchmetrics takes scores outside [0, 1] for logits and saturates them.
    precision, recall, at = binary_precision_recall_curve(
        torch.from_numpy(rank.ravel() / len(values)), torch.from_numpy(truth.astype(np.int64))
    )
    both = precision + recall
    f1 = torch.where(both > 0, 2 * precision * recall / both, 0.0)[:-1]  # the last point calls nothing
    lowest = round(float(at[int(f1.argmax())]) * len(values))
    below = values[lowest - 1] if lowest else 0.0
    return float((values[lowest] + below) / 2)


def judge(
    probabilities: ArrayLike,
    truth: ArrayLike,
    classes: Sequence[str],
    thresholds: ArrayLike = PLAIN_THRESHOLD,
    groups: Sequence[object] | ArrayLike | None = None,
    paper: Mapping[str, float] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    task: str = "multi-label",
) -> Judgement:
    """From probabilities (n, C), truth bool (n, C) and a threshold for all or each of the classes; a class is called at
    or above its threshold.

    Defect-free is what has, or is called, no class. The confusion is of the samples with at most one true class, as in
    the paper; what is called several classes counts as the one with the highest probability. `recall_at_pass_rate`
    tells samples with a defect from those without by their highest probability. `groups` (n,): the image or frame that
    each sample (crop) is of.
    """
    scores, true = finite(probabilities), np.asarray(truth, bool)
    if scores.shape != true.shape or scores.shape[1:] != (len(classes),):
        raise ValueError(f"probabilities {scores.shape} and truth {true.shape}: expected (n, {len(classes)}) of both")
    named, claims = tuple(classes), dict(paper or {})
    least = np.broadcast_to(np.asarray(thresholds, np.float64), len(named))
    calls = scores >= least

    def judged(at: NDArray[np.intp]) -> Judgement:
        score, is_true, called = scores[at], true[at], calls[at]
        per_class = {
            name: class_figures(called[:, k], is_true[:, k], score[:, k], float(least[k]))
            for k, name in enumerate(named)
        }
        highest = score.max(1)
        defect, defect_called = np.any(is_true, axis=1), np.any(called, axis=1)
        return Judgement(
            count=len(at),
            task=task,
            classes=named,
            precision=mean(of.precision for of in per_class.values()),
            recall=mean(of.recall for of in per_class.values()),
            f1=mean(of.f1 for of in per_class.values()),
            auc=mean(of.auc for of in per_class.values()),
            per_class=per_class,
            mla=ratio((called == is_true).sum(), is_true.size),
            exact=ratio((called == is_true).all(1).sum(), len(at)),
            defect_free=class_figures(~defect_called, ~defect, -highest),
            confusion=_confusion(score, called, is_true),
            confusion_classes=(*named, DEFECT_FREE),
            recall_at_pass_rate=recall_at_pass_rates(highest, defect),
            paper=claims,
        )

    return with_intervals(judged, one_per_sample(len(true), groups), draws, seed)


def _confusion(
    scores: NDArray[np.float64], called: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> tuple[tuple[int, ...], ...]:
    classes = truth.shape[1]
    plain = truth.sum(1) <= 1
    one_true = np.where(truth.any(1), truth.argmax(1), classes)[plain]
    one_called = np.where(called.any(1), np.where(called, scores, -np.inf).argmax(1), classes)[plain]
    return confusion(one_true, one_called, classes + 1)
