"""Learning from a history's labels: `linewatch learn --from history`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from linewatch.contracts.errors import EngineError
from linewatch.contracts.probability import ProbabilityModel, probability_of
from linewatch.history.labels import labelled_defects
from linewatch.inference.engines import Engine
from linewatch.learning.instances import LabelledInstances
from linewatch.learning.labelled import MillLabels, check_enough, mill_labels
from linewatch.learning.learned_engine import family, write_successor
from linewatch.learning.operating_point import OperatingPoint, fit_with_points
from linewatch.learning.what_changes import LAST_COILS, Changes, what_changes
from linewatch.metrics.calibration import calibration_error


@dataclass(frozen=True)
class Learned:
    """A new engine beside the old one.

    folders: the engine's, then those of its INT8 siblings. told, called: its operating points, by cross-validation over
    the shipped instances and the mill's. calibration_after: expected calibration error on the mill's
    labelled defects, of a second stage that was fitted without their coil. calibration_before: the same of the former
    one, on those that it had not learned from; None: there are none.
    """

    folders: tuple[Path, ...]
    before: ProbabilityModel
    model: ProbabilityModel
    labels: MillLabels
    told: OperatingPoint
    called: OperatingPoint
    calibration_before: float | None
    calibration_after: float
    changes: Changes
    load: str  # the folder that takes the place of the engine that found most of the labelled defects


def learn_from_history(connection: sa.Connection, engines_dir: Path, name: str, last: int = LAST_COILS) -> Learned:
    """Fit the second stage of the engine `name` to the mill's labels, and write a new engine beside it.

    The instances behind the engine as it is are kept as prior knowledge: each counts as much as one label of the mill.
    Among them may be labels that it learned from before; one that is still in the history counts once, as it stands
    there. Raises HistoryError for labels that are too few or one-sided, and EngineError for an engine that has no
    second stage or lacks the instances behind it.
    """
    engines = family(engines_dir, name)
    before, behind = _as_it_is(engines[0])
    labels = mill_labels(labelled_defects(connection), engines, behind.names)
    check_enough(labels)
    own = labels.instances
    prior = behind.rows(~np.isin(behind.label, own.label) | (behind.label == ""))
    joined = prior.joined(own)
    told_by_mill = int((joined.label != "").sum())
    fitted_on = f"{before.fitted_on.partition('; with ')[0]}; with {told_by_mill} labels of a mill"
    model, told, called, probability = fit_with_points(joined, fitted_on)
    new = own.rows(~np.isin(own.label, behind.label))
    told_before = probability_of(before.log_odds(new.evidence))
    mine = np.arange(len(joined)) >= len(prior)
    changes = what_changes(connection, engines, before, model, last)
    folders = tuple(write_successor(engines_dir, name, model, joined, told_by_mill))
    return Learned(
        folders=folders,
        before=before,
        model=model,
        labels=labels,
        told=told,
        called=called,
        calibration_before=calibration_error(told_before, new.right) if len(new) else None,
        calibration_after=calibration_error(probability[mine], own.right),
        changes=changes,
        load=folders[labels.found_by].name,
    )


def _as_it_is(engine: Engine) -> tuple[ProbabilityModel, LabelledInstances]:
    """Return the engine's second stage and the instances behind it. Raises EngineError where it lacks either."""
    manifest = engine.manifest
    if manifest.probability is None:
        raise EngineError(
            f"engine {manifest.name} has no second stage (`probability` in its manifest), expected one to learn from; "
            "`linewatch fit-probability` makes it, from frames with masks"
        )
    behind = LabelledInstances.read(engine.directory, manifest.probability.version)
    if behind.names != tuple(manifest.probability.evidence):
        raise EngineError(
            f"engine {manifest.name}: its instances hold other evidence than its second stage weighs; copy the "
            "engine's folder again"
        )
    return manifest.probability, behind
