"""Fitting of an engine's second stage on judged frames: `linewatch fit-probability`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from linewatch.contracts.errors import EngineError, SourceError
from linewatch.contracts.manifest import Task
from linewatch.contracts.probability import ProbabilityModel
from linewatch.evaluation.judging.judged import InstanceTable
from linewatch.evaluation.judging.record import FramesJudgement
from linewatch.inference.engines import find_engine
from linewatch.learning.instances import LabelledInstances
from linewatch.learning.learned_engine import write_second_stage
from linewatch.learning.operating_point import OperatingPoint, Rule, fit_with_points
from linewatch.metrics.calibration import calibration_error, reliability
from linewatch.metrics.intervals import Interval, intervals

RELIABILITY = "reliability.png"


@dataclass(frozen=True)
class FittedSecondStage:
    """What was written, and what cross-validation over groups says of it.

    folders: of the engine and its INT8 siblings. left_out: evidence that is not known of every instance. notes: those
    of the judgements, for example that an engine was trained on what it was judged on.
    calibration_error: expected, with its 95 % interval by bootstrap over groups (None: too few groups).
    """

    folders: tuple[Path, ...]
    model: ProbabilityModel
    told: OperatingPoint
    called: OperatingPoint
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    calibration_error: float
    interval: Interval | None


def fit_probability(
    name: str, judgements: Sequence[Path], engines_dir: Path, tell: Rule, call: Rule, out: Path | None = None
) -> FittedSecondStage:
    """Fit the second stage of the engine `name`, and write it into its manifest and those of its INT8 siblings.

    judgements: `judgement.json` of `linewatch judge`, of one chain or of its per-fold siblings, each on frames that its
    networks have not seen; an instance counts whether it was told or not. out: where `reliability.png` is drawn. Raises
    EngineError, and SourceError for judgements that cannot be read or hold too little to fit on.
    """
    manifest = find_engine(engines_dir, name).manifest
    if manifest.task not in (Task.INSPECT, Task.CLASSIFY):
        raise EngineError(
            f"engine {name}: its task is {manifest.task}, expected the inspect engine, or the classify engine of a "
            "cascade, which hold the second stage"
        )
    parts = [FramesJudgement.read(path) for path in judgements]
    judgement = FramesJudgement.pooled(parts, list(map(str, judgements)))
    if manifest.task.value not in judgement.engines:
        raise SourceError(
            f"the frames were judged by {', '.join(judgement.engines) or 'no engine'}, {name} is of the task "
            f"{manifest.task}; judge them by its chain"
        )
    instances, left_out = _instances(InstanceTable.of(judgement.frames))
    sets = f"{len(judgement.frames)} frames of {len({frame.group for frame in judgement.frames})} groups"
    fitted = fit_with_points(
        instances, f"{len(instances)} instances on {sets}, {int(instances.right.sum())} of them true", tell, call
    )
    error = partial(_calibration_error, fitted.probability, instances.right)
    if out is not None:
        _draw(fitted.probability, instances.right, out)
    return FittedSecondStage(
        tuple(write_second_stage(engines_dir, name, fitted.model, instances)),
        fitted.model,
        fitted.told,
        fitted.called,
        left_out,
        judgement.notes,
        error(np.arange(len(instances))),
        intervals(lambda rows: {"error": error(rows)}, instances.group).get("error"),
    )


def _instances(table: InstanceTable) -> tuple[LabelledInstances, tuple[str, ...]]:
    """Return the instances with the evidence that is known of all, and the names of the rest."""
    known = np.isfinite(table.evidence).all(0)
    names = np.array(table.names, object)
    clean = np.array([frame.clean for frame in table.frames], bool)
    instances = LabelledInstances.of(
        names[known].tolist(), table.evidence[:, known], table.right, table.group, clean[table.frame], int(clean.sum())
    )
    return instances, tuple(names[~known].tolist())


def _calibration_error(probability: NDArray[np.float64], right: NDArray[np.bool_], rows: NDArray[np.intp]) -> float:
    return calibration_error(probability[rows], right[rows])


def _draw(probability: NDArray[np.float64], right: NDArray[np.bool_], out: Path) -> None:
    from linewatch.metrics.plots.reliability import probability_plots

    order = np.argsort(-probability, kind="stable")
    hits = np.cumsum(right[order])
    curve = list(zip((hits / hits[-1]).tolist(), (hits / np.arange(1, len(order) + 1)).tolist(), strict=True))
    out.mkdir(parents=True, exist_ok=True)
    probability_plots(out / RELIABILITY, curve, {}, reliability(probability, right))
