"""How much of a training queue is done, and how long the rest takes at most.

The work of a run is counted in forward operations: epochs x pictures of an epoch x operations of the network at the
size of its input. A run that has ended an epoch has a rate of its own; the others are given the mean rate so far. Early
stopping ends most runs sooner, so what is left is an upper bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from linewatch.datasets import DataSet
from linewatch.evaluation.queue.queue_file import QueuedRun
from linewatch.networks.count import size_of
from linewatch.networks.registry import NETWORKS
from linewatch.training.fit import HISTORY, read_history
from linewatch.training.runs import RESULT


@dataclass(frozen=True, slots=True)
class RunWork:
    """A run's epochs, at most and over all folds, and the operations (GFLOP) of one."""

    run: QueuedRun
    epochs: int
    epoch_gflop: float


@dataclass(frozen=True, slots=True)
class RunState:
    """What a run's folder shows. seconds: of its epochs so far."""

    work: RunWork
    ended: bool
    epochs: int
    seconds: float

    @property
    def done_gflop(self) -> float:
        return self.epochs * self.work.epoch_gflop

    @property
    def left_gflop(self) -> float:
        return 0.0 if self.ended else max(self.work.epochs - self.epochs, 0) * self.work.epoch_gflop


def work_of(run: QueuedRun, data_set: DataSet) -> RunWork:
    """Count the work of a run. Raises ConfigError where its recipe cannot learn from the set."""
    settings = run.settings
    study = run.protocol.open(settings, data_set)
    usable = study.usable(data_set.specimens)
    share = (1 - 1 / run.kfold) * (1 - settings.validation_share) if run.kfold else settings.shares[0]
    trained = round(share * settings.training_share * len(usable))
    spread = [one for number, one in enumerate(usable) if number * trained % len(usable) < trained]  # over all classes
    items = len(study.training(spread))  # type: ignore[arg-type]  # all are sized
    spec = NETWORKS[settings.network]
    size = settings.lines * settings.width / (spec.lines * spec.width)
    epochs = sum(phase.epochs for phase in study.phases())
    return RunWork(run, epochs * (run.kfold or 1), items * size_of(spec).gflop * size)


def state_of(work: RunWork, folder: Path) -> RunState:
    """Read a run's state from its folder, which need not be there."""
    rows = [row for history in sorted(folder.rglob(HISTORY)) for row in read_history(history)]
    seconds = sum(float(row["seconds"]) for row in rows)
    return RunState(work, (folder / RESULT).is_file(), len(rows), seconds)


def seconds_left(states: Sequence[RunState], at_once: int) -> float | None:
    """Return an upper bound of the time that the queue still takes; None before the first epoch of all."""
    done, spent_s = sum(state.done_gflop for state in states), sum(state.seconds for state in states)
    if not done:
        return None
    left_s = 0.0
    for state in states:
        own = (state.seconds, state.done_gflop) if state.epochs else (spent_s, done)
        left_s += state.left_gflop * own[0] / own[1]
    return left_s / at_once
