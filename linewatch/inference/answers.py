"""Judges an engine's answers: probabilities of the promised shape, or what they look like instead.

An answer that is no probability must never reach a decision: as a number it would be believed.
"""

import numpy as np

from linewatch.contracts.manifest import EngineManifest, Task
from linewatch.inference.model_ports import promised_output

SLACK = 4e-5
"""By how much rounding may carry a probability beyond 0 and 1. A message's four decimals show no more than this."""
CLASSES = 2
"""The first plane of an inspect engine's maps that holds a class's share; plane 0: the screen, plane 1: any defect."""
_SUM_SLACK = 0.02
_BYTE_MAX, _PERCENT_MAX, _PERCENT_MIN_OF_MAX = 255.0, 100.0, 30.0


class AnswerCheck:
    """The check of one engine's answers. Costs some microseconds a batch; the words are made for a bad answer only."""

    def __init__(self, manifest: EngineManifest) -> None:
        wanted = promised_output(manifest)
        self._wanted = wanted
        self._dtype = np.dtype(wanted.dtype)
        self._row_shape = wanted.dims[1:]
        self._is_probability = manifest.task is not Task.SEGMENT  # any byte of a mask is one
        self._sums_to_one = manifest.scores_sum_to_one
        self._has_maps = manifest.task is Task.INSPECT

    def fault(self, answer: object, rows: int) -> str | None:
        """Return what is wrong with the answer to `rows` tiles, as found, expected and remedy; None: nothing is."""
        return self.shape_fault(answer, rows) or self.value_fault(answer)  # type: ignore[arg-type]

    def shape_fault(self, answer: object, rows: int) -> str | None:
        """As `fault`, for the kind and the extents of an answer."""
        if not isinstance(answer, np.ndarray):
            return f"gave {type(answer).__name__}, expected an array {self._wanted}; correct the backend"
        if answer.dtype == self._dtype and answer.shape == (rows, *self._row_shape):
            return None
        found = f"gave {answer.dtype} {answer.shape} for {rows} tile{'s' if rows != 1 else ''}"
        remedy = "export the model and its manifest together"
        if answer.ndim and answer.shape[0] != rows:
            remedy = "export it so that each tile of a batch has one row in the output"
        return f"{found}, expected {self._dtype} {(rows, *self._row_shape)}; {remedy}"

    def value_fault(self, answers: np.ndarray) -> str | None:
        """As `fault`, for the values of answers of the right shape."""
        if not self._is_probability or not answers.size:
            return None
        low, high = answers.min(), answers.max()  # not-a-number passes through both
        if not (low >= -SLACK and high <= 1 + SLACK):
            return _out_of_range(answers)
        if self._sums_to_one:
            off = np.abs(answers.sum(axis=1) - 1).max()
            if off > _SUM_SLACK:
                return (
                    f"gave scores that sum to 1 +- {off:.2f}, expected 1 for each tile, since its manifest says "
                    "scores_sum_to_one; end the graph with a softmax, or set it to false"
                )
        if self._has_maps:
            off = np.abs(answers[:, CLASSES:].sum(axis=1) - 1).max()
            if off > _SUM_SLACK:
                return (
                    f"gave shares of the classes that sum to 1 +- {off:.2f}, expected 1 in each cell; end these planes "
                    "with a softmax over the classes"
                )
        return None


def _out_of_range(answers: np.ndarray) -> str:
    finite = np.isfinite(answers)
    bad = int(answers.size - finite.sum())
    if bad:
        kinds = "not a number" if np.isnan(answers).any() else "infinite"
        return (
            f"gave {bad} of {answers.size} scores that are not finite ({kinds}), expected probabilities from 0 to 1; "
            "look for a division by zero or an overflow in half precision: export the graph in fp32"
        )
    low, high = float(answers.min()), float(answers.max())
    return (
        f"gave scores from {low:.3g} to {high:.3g}, expected probabilities from 0 to 1; {_remedy(answers, low, high)}"
    )


def _remedy(answers: np.ndarray, low: float, high: float) -> str:
    """Say what scores beyond 0 to 1 look like."""
    if low < 0:
        if high <= SLACK and answers.ndim == 2 and np.allclose(np.exp(answers).sum(1), 1, atol=_SUM_SLACK):
            return "looks like logarithms (log-softmax): end the graph with a softmax"
        return (
            "looks like logits: add a sigmoid to the end of the graph (a softmax where exactly one class holds, and "
            "scores_sum_to_one in the manifest)"
        )
    if high <= _PERCENT_MAX and high >= _PERCENT_MIN_OF_MAX:
        return "looks like 0 to 100: divide by 100 at the end of the graph"
    if _PERCENT_MAX < high <= _BYTE_MAX:
        return "looks like 0 to 255: divide by 255 at the end of the graph"
    if high > _BYTE_MAX:
        return "looks like logits: add a sigmoid to the end of the graph"
    return (
        "looks like 0 to 100 (divide by 100 at the end of the graph), or like logits behind a ReLU (end with a sigmoid)"
    )
