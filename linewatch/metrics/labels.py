"""Metrics of networks that give each image one label.

The class with the highest score is called; precision, recall and F1 are macro averages. Kateb et al. report Keras'
metrics instead, which count every output above 0.5 as a call and pool the classes: they differ by the images in which
no class exceeds one half. For two classes Apostolopoulos & Tzani report the defect class alone: compare with
`per_class`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linewatch.metrics.classes import class_metrics, confusion, finite, macro, one_per_sample, ratio
from linewatch.metrics.intervals import DRAWS, with_intervals
from linewatch.metrics.result import EvaluationResult
from linewatch.metrics.windows import recall_at_pass_rates


def evaluate(
    probabilities: ArrayLike,
    truth: ArrayLike,
    classes: Sequence[str],
    groups: Sequence[object] | ArrayLike | None = None,
    clean: str | None = None,
    paper: Mapping[str, float] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    task: str = "classify",
) -> EvaluationResult:
    """Evaluate probabilities (n, C) against true class numbers (n,), class k being `classes[k]`.

    `clean` names the class without a defect, if there is one: `recall_at_pass_rate` then counts all other classes as
    defective, with the score 1 - p(clean). `groups` (n,) are resampled for the intervals; default: each image alone.
    """
    scores, true = finite(probabilities), np.asarray(truth, np.intp)
    if scores.shape != (len(true), len(classes)):
        raise ValueError(f"probabilities {scores.shape} for {len(true)} labels of {len(classes)} classes")
    named, called = tuple(classes), scores.argmax(1)
    group = one_per_sample(len(true), groups)
    claims = dict(paper or {})
    clean_class = None if clean is None else named.index(clean)

    def evaluated(at: NDArray[np.intp]) -> EvaluationResult:
        score, is_true, is_called = scores[at], true[at], called[at]
        per_class = {name: class_metrics(is_called == k, is_true == k, score[:, k]) for k, name in enumerate(named)}
        return EvaluationResult(
            count=len(at),
            task=task,
            classes=named,
            top1=ratio((is_called == is_true).sum(), len(at)),
            **macro(per_class.values()),
            per_class=per_class,
            confusion=confusion(is_true, is_called, len(named)),
            confusion_classes=named,
            recall_at_pass_rate={}
            if clean_class is None
            else recall_at_pass_rates(1 - score[:, clean_class], is_true != clean_class),
            paper=claims,
        )

    return with_intervals(evaluated, group, draws, seed)
