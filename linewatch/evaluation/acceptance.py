"""Acceptance of an INT8 engine: it must be as good as its FP32 source, by the task's headline metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.errors import ConfigError, EngineError
from linewatch.contracts.manifest import Acceptance
from linewatch.datasets import DataSet, Specimen
from linewatch.evaluation.evaluate import EvaluationTarget, Headline, frame_headlines, headlines, unseen
from linewatch.metrics.intervals import intervals, most_unseen

BOUNDS = {"recall_at_10pct": 0.05, "top1": 0.02, "dice": 0.02, "piece_recall": 0.05}
"""The largest allowed drop of each metric, at the upper end of the drop's 95 % interval."""


def compare(
    fp32: EvaluationTarget,
    int8: EvaluationTarget,
    backend: str,
    sets: Sequence[DataSet],
    taxonomy: Taxonomy,
    bound: float | None = None,
) -> list[Acceptance]:
    """Return both engines' headline metrics on the held-out images of every set that has the labels for them."""
    found = []
    for data_set in sets:
        specimens = unseen(fp32, data_set)
        first = headlines(fp32, data_set, specimens, taxonomy) if specimens else []
        second = headlines(int8, data_set, specimens, taxonomy) if first else []
        for before, after in zip(first, second, strict=True):
            if all(one.of(np.arange(len(one.groups))) is not None for one in (before, after)):
                found.append(_accept(data_set.name, backend, before, after, bound))
    if not found:
        raise ConfigError(
            f"--data: none of {', '.join(one.name for one in sets)} has held-out images by which {fp32.name} "
            "can be evaluated (screen, inspect: outlined frames; classify: labels; segment: outlines); name one that "
            "has"
        )
    return found


def compare_over_folds(
    parts: Sequence[tuple[EvaluationTarget, EvaluationTarget, Sequence[Specimen]]],
    backend: str,
    data_set: DataSet,
    bound: float | None = None,
) -> list[Acceptance]:
    """Compare FP32 and INT8 networks of a cross-validation, each on the frames of the fold that it has not seen."""
    first = frame_headlines([(fp32, frames) for fp32, _, frames in parts], data_set)
    second = frame_headlines([(int8, frames) for _, int8, frames in parts], data_set)
    name = f"{data_set.name}, {len(parts)} folds"
    return [_accept(name, backend, before, after, bound) for before, after in zip(first, second, strict=True)]


def _accept(data: str, backend: str, first: Headline, second: Headline, bound: float | None) -> Acceptance:
    everything = np.arange(len(first.groups))
    before, after = first.of(everything), second.of(everything)
    assert before is not None
    assert after is not None
    return Acceptance(
        data=data,
        figure=first.name,
        backend=backend,
        count=len(everything),
        fp32=round(before, 4),
        int8=round(after, 4),
        drop_high=round(drop_high(first, second), 4),
        bound=BOUNDS[first.name] if bound is None else bound,
    )


def drop_high(first: Headline, second: Headline) -> float:
    """Return the upper end of the 95 % interval of the drop from first to second, by a paired bootstrap over images.

    If a share lost no sample, the bootstrap is blind; the drop is then at least the exact one-sided 95 % bound for as
    many images.
    """

    def drop(at: NDArray[np.intp]) -> dict[str, float | None]:
        before, after = first.of(at), second.of(at)
        return {"drop": None if before is None or after is None else before - after}

    found = intervals(drop, first.groups).get("drop")
    if found is None:
        raise ConfigError(f"{first.name}: too few images for an interval; evaluate on more")
    if first.correct is not None and second.correct is not None and not (first.correct & ~second.correct).any():
        return max(found[1], most_unseen(len(set(first.groups))))
    return found[1]


def refuse_beyond(name: str, acceptance: Sequence[Acceptance]) -> None:
    """Raise `EngineError` with every metric whose drop may be beyond its bound."""
    beyond = [one for one in acceptance if one.drop_high > one.bound]
    if beyond:
        drops = "; ".join(
            f"{one.data} {one.figure} on {one.backend} {one.fp32:.3f} -> {one.int8:.3f}, a drop of up to "
            f"{one.drop_high:.3f}, expected at most {one.bound:.3f}"
            for one in beyond
        )
        raise EngineError(
            f"{name} is refused and nothing was written: {drops}; keep the FP32 engine, evaluate on more images, or "
            "allow more with --bound"
        )
