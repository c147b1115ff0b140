"""The work of `linewatch train` and `linewatch evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.errors import ConfigError
from linewatch.datasets.arguments import OwnSets, complete, joined, named_folders, open_sets
from linewatch.datasets.check import tell
from linewatch.evaluation.evaluate import evaluate as evaluate_task
from linewatch.evaluation.evaluate import open_target, unseen
from linewatch.metrics.result import EvaluationResult
from linewatch.networks.pretrained import Source
from linewatch.training.house.protocols import HOUSE_PROTOCOLS, train_house
from linewatch.training.protocols import PAPER_PROTOCOLS
from linewatch.training.runs import TrainingJob, cross_validate
from linewatch.training.runs import train as train_paper

RUNS = Path("runs")


def train(
    name: str,
    *,
    data: Sequence[str],
    own: OwnSets = OwnSets(),
    changes: Sequence[str] = (),
    weights: str | None = None,
    run: Path | None = None,
    folds: int | None = None,
    resume: bool = False,
    out: Path | None = None,
) -> EvaluationResult | None:
    """Train by the protocol `name` into a run folder and return the evaluation; `own`: how users' own sets are read.

    A protocol of the house writes an engine folder with a card and returns None.
    """
    if name in HOUSE_PROTOCOLS:
        train_house(name, named_folders(data), changes, weights, run or RUNS / name, out or Path("engines") / name)
        return None
    if name not in PAPER_PROTOCOLS:
        raise ConfigError(
            f"no training protocol {name!r}, expected one of {', '.join([*PAPER_PROTOCOLS, *HOUSE_PROTOCOLS])}"
        )
    protocol = PAPER_PROTOCOLS[name]
    sets = open_sets(data, own)
    for one in sets:
        tell(one)
    data_set = joined(sets)
    job = TrainingJob(
        protocol,
        protocol.settings.with_settings(changes),
        data_set,
        run or RUNS / f"{name}-{data_set.name}",
        _source(weights),
        resume,
    )
    return train_paper(job) if folds is None else cross_validate(job, _folds(folds))


def evaluate(
    name: str,
    *,
    data: Sequence[str],
    own: OwnSets = OwnSets(),
    folds: int | None = None,
    weights: str | None = None,
    everything: bool = False,
    engines_dir: Path = Path("engines"),
    backend: str = "onnxruntime",
    run: Path | None = None,
) -> list[EvaluationResult]:
    """Evaluate the engine or checkpoint `name` on every set that `data` names.

    With `folds`, cross-validate the checkpoint's protocol on each set instead, in the run folder `run`.
    """
    target, taxonomy = open_target(name, engines_dir, backend), Taxonomy.read()
    found = []
    for data_set in map(complete, open_sets(data, own)):
        tell(data_set)
        if folds is None:
            specimens = data_set.specimens if everything else unseen(target, data_set)
            found.append(evaluate_task(target, data_set, specimens, taxonomy))
            continue
        if target.trained is None:
            raise ConfigError(
                f"--kfold trains anew, which needs a checkpoint with its training protocol; {name} is an engine"
            )
        record = target.trained.record
        folder = run or RUNS / f"{record.protocol}-{data_set.name}-{folds}-fold"
        settings = target.trained.study.settings
        job = TrainingJob(PAPER_PROTOCOLS[record.protocol], settings, data_set, folder, _source(weights), resume=True)
        found.append(cross_validate(job, _folds(folds)))
    return found


def _folds(folds: int) -> int:
    if not 2 <= folds <= 100:
        raise ConfigError(f"--kfold is {folds}, expected 2 to 100")
    return folds


def _source(weights: str | None) -> Source:
    return weights if weights in (None, "imagenet") else Path(weights)
