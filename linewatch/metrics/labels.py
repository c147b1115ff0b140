"""One label per image: NEU's six classes, X-SDD's seven, casting, SDNET, ELPV, magnetic tile, ITODD, GC10's first.

Precision, recall and F1 are of the class with the highest score, macro. (Kateb et al. report Keras' metrics, which take
every output above 0.5 for a call and pool the classes: with a softmax that differs from ours by the images that no
class wins with more than one half. Apostolopoulos & Tzani give those of the defect class alone for two classes: compare
them with `per_class`.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linewatch.metrics.classes import class_figures, confusion, finite, mean, one_per_sample, ratio
from linewatch.metrics.intervals import DRAWS, with_intervals
from linewatch.metrics.judgement import Judgement
from linewatch.metrics.windows import recall_at_pass_rates


def judge(
    probabilities: ArrayLike,
    truth: ArrayLike,
    classes: Sequence[str],
    groups: Sequence[object] | ArrayLike | None = None,
    clean: str | None = None,
    paper: Mapping[str, float] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    task: str = "classify",
) -> Judgement:
    """From probabilities (n, C) and true class numbers (n,), class k being `classes[k]`.

    `clean` names the class without defect, if there is one: then `recall_at_pass_rate` counts the others as defective,
    with the score 1 - p(clean). `groups` (n,) are resampled for the intervals; without them each image is its own.
    """
    scores, true = finite(probabilities), np.asarray(truth, np.intp)
    if scores.shape != (len(true), len(classes)):
        raise ValueError(f"probabilities {scores.shape} for {len(true)} labels of {len(classes)} classes")
    named, called = tuple(classes), scores.argmax(1)
    group = one_per_sample(len(true), groups)
    claims = dict(paper or {})
    clean_class = None if clean is None else named.index(clean)

    def judged(at: NDArray[np.intp]) -> Judgement:
        score, is_true, is_called = scores[at], true[at], called[at]
        per_class = {name: class_figures(is_called == k, is_true == k, score[:, k]) for k, name in enumerate(named)}
        return Judgement(
            count=len(at),
            task=task,
            classes=named,
            top1=ratio((is_called == is_true).sum(), len(at)),
            precision=mean(of.precision for of in per_class.values()),
            recall=mean(of.recall for of in per_class.values()),
            f1=mean(of.f1 for of in per_class.values()),
            auc=mean(of.auc for of in per_class.values()),
            per_class=per_class,
            confusion=confusion(is_true, is_called, len(named)),
            confusion_classes=named,
            recall_at_pass_rate={}
            if clean_class is None
            else recall_at_pass_rates(1 - score[:, clean_class], is_true != clean_class),
            paper=claims,
        )

    return with_intervals(judged, group, draws, seed)
