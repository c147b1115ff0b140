"""Metrics of networks that count the defects of each class in an image (Dorzhiev & Feiler, mosaics of four samples).

Their "accuracy" (91 % without rotations, 100 % with) is read strictly, as the share of images with every count correct:
`count_exact`. The share of correct single entries, `count_accuracy`, is much higher, since most entries are 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linewatch.metrics.classes import class_metrics, finite, macro, one_per_sample, ratio
from linewatch.metrics.intervals import DRAWS, with_intervals
from linewatch.metrics.result import EvaluationResult


def rounded(values: ArrayLike) -> NDArray[np.int64]:
    """Return the nearest whole counts of a network's outputs; negative outputs count 0."""
    return np.rint(finite(values)).clip(0).astype(np.int64)


def evaluate(
    values: ArrayLike,
    truth: ArrayLike,
    classes: Sequence[str],
    groups: Sequence[object] | ArrayLike | None = None,
    paper: Mapping[str, float] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> EvaluationResult:
    """Evaluate outputs (n, C), not rounded, against true counts (n, C).

    `per_class` evaluates presence: a class is called where its rounded count is not 0; AUC is by the output.
    """
    outputs, true = finite(values), np.asarray(truth, np.int64)
    if outputs.shape != true.shape or outputs.shape[1:] != (len(classes),):
        raise ValueError(f"outputs {outputs.shape} and counts {true.shape}: expected (n, {len(classes)}) of both")
    counted, named, claims = rounded(outputs), tuple(classes), dict(paper or {})

    def evaluated(at: NDArray[np.intp]) -> EvaluationResult:
        output, is_true, called = outputs[at], true[at], counted[at]
        correct = called == is_true
        per_class = {
            name: class_metrics(called[:, k] > 0, is_true[:, k] > 0, output[:, k]) for k, name in enumerate(named)
        }
        return EvaluationResult(
            count=len(at),
            task="counts",
            classes=named,
            **macro(per_class.values()),
            per_class=per_class,
            count_exact=ratio(correct.all(1).sum(), len(at)),
            count_accuracy=ratio(correct.sum(), correct.size),
            count_mse=ratio(((output - is_true) ** 2).sum(), correct.size),
            paper=claims,
        )

    return with_intervals(evaluated, one_per_sample(len(true), groups), draws, seed)
