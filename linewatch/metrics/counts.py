"""How many defects of each class an image holds, as Dorzhiev & Feiler count them on mosaics of four samples.

Their "accuracy" (91 % without rotations, 100 % with) is taken as the share of images with every count right, the
stricter reading: `count_exact`. The share of single entries that are right, `count_accuracy`, is much higher, since
most entries are 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linewatch.metrics.classes import class_figures, finite, mean, one_per_sample, ratio
from linewatch.metrics.intervals import DRAWS, with_intervals
from linewatch.metrics.judgement import Judgement


def rounded(values: ArrayLike) -> NDArray[np.int64]:
    """The nearest whole counts of a network's outputs; below zero there is none."""
    return np.rint(finite(values)).clip(0).astype(np.int64)


def judge(
    values: ArrayLike,
    truth: ArrayLike,
    classes: Sequence[str],
    groups: Sequence[object] | ArrayLike | None = None,
    paper: Mapping[str, float] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Judgement:
    """From the outputs (n, C), not rounded, and the true counts (n, C). `per_class` is of presence: called where the
    rounded count is not 0, AUC by the output.
    """
    outputs, true = finite(values), np.asarray(truth, np.int64)
    if outputs.shape != true.shape or outputs.shape[1:] != (len(classes),):
        raise ValueError(f"outputs {outputs.shape} and counts {true.shape}: expected (n, {len(classes)}) of both")
    counted, named, claims = rounded(outputs), tuple(classes), dict(paper or {})

    def judged(at: NDArray[np.intp]) -> Judgement:
        output, is_true, called = outputs[at], true[at], counted[at]
        right = called == is_true
        per_class = {
            name: class_figures(called[:, k] > 0, is_true[:, k] > 0, output[:, k]) for k, name in enumerate(named)
        }
        return Judgement(
            count=len(at),
            task="counts",
            classes=named,
            precision=mean(of.precision for of in per_class.values()),
            recall=mean(of.recall for of in per_class.values()),
            f1=mean(of.f1 for of in per_class.values()),
            auc=mean(of.auc for of in per_class.values()),
            per_class=per_class,
            count_exact=ratio(right.all(1).sum(), len(at)),
            count_accuracy=ratio(right.sum(), right.size),
            count_mse=ratio(((output - is_true) ** 2).sum(), right.size),
            paper=claims,
        )

    return with_intervals(judged, one_per_sample(len(true), groups), draws, seed)
