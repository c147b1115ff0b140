"""`linewatch train --queue`: trains the runs of a queue, each in a process of its own.

A run that was cut short goes on from its newest checkpoint; one that has ended is left as it is. A run that fails does
not end the queue.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import structlog

from linewatch.contracts.errors import ConfigError
from linewatch.datasets.arguments import complete, open_sets
from linewatch.evaluation.queue.queue_file import QueuedRun, QueueFile
from linewatch.evaluation.queue.results_table import results_table
from linewatch.evaluation.queue.work import RunState, RunWork, seconds_left, state_of, work_of
from linewatch.files import write_file
from linewatch.signals import on_end
from linewatch.terminal import progress_bar
from linewatch.training.runs import RESULT, TRUNK

log = structlog.get_logger()

LOG, TABLE = "train.log", "results.md"
_LOOK_S = 2.0
_END_S = 30.0
_STEPS = 1000  # of the progress bar


@dataclass
class QueueRunner:
    """Trains a queue into the folder `runs`, with a table of the results. folders: the sets by name.

    Only one runner at a time works on a folder: `run` raises ConfigError where there is another.
    """

    queue: QueueFile
    folders: Mapping[str, Path]
    runs: Path
    failures: dict[str, str] = field(default_factory=dict)
    """Why runs ended without a result, by name."""
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _ending: bool = False

    def run(self) -> list[RunState]:
        """Train what is left until all have ended, or a signal ends the queue. Return the state of each run."""
        self.runs.mkdir(parents=True, exist_ok=True)
        with (self.runs / "queue.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ConfigError(
                    f"{self.runs}: another queue trains here, or a run of one that was killed; wait for it, end it, or "
                    "name another --run folder"
                ) from error
            sets = {
                name: complete(open_sets([f"{name}={self.folders[name]}"])[0])
                for name in dict.fromkeys(run.data for run in self.queue.run)
            }
            work = [work_of(run, sets[run.data]) for run in self.queue.run]
            with on_end(self._end), progress_bar("queue", _STEPS) as shown:
                try:
                    self._train(work, lock.fileno(), shown)
                finally:
                    self._end_processes()
            return self._states(work)

    def _train(self, work: list[RunWork], lock: int, shown: Callable[[int, str], None]) -> None:
        waiting = [one.run for one in work if not (self.runs / one.run.name / RESULT).is_file()]
        while (waiting or self._processes) and not self._ending:
            for run in list(waiting):
                source = run.trunk_of
                if source in self.failures:
                    waiting.remove(run)
                    self.failures[run.name] = f"not trained: {source} failed"
                elif len(self._processes) < self.queue.at_once and (
                    source is None or (self.runs / source / RESULT).is_file()
                ):
                    waiting.remove(run)
                    self._processes[run.name] = self._start(run, lock)
            ended = [name for name, process in self._processes.items() if process.poll() is not None]
            for name in ended:
                if code := self._processes.pop(name).returncode:
                    self.failures[name] = f"failed: {self._last_line(name, code)}"
                    log.warning("run_failed", run=name, why=self.failures[name], log=str(self.runs / name / LOG))
                else:
                    log.info("run_ended", run=name)
            states = self._states(work)
            write_file(self.runs / TABLE, results_table(states, self.runs, self.failures).encode())
            self._show(states, shown)
            if not ended:
                time.sleep(_LOOK_S)

    def _start(self, run: QueuedRun, lock: int) -> subprocess.Popen[bytes]:
        folder = self.runs / run.name
        folder.mkdir(exist_ok=True)
        weights = run.weights if run.trunk_of is None else str(self.runs / run.trunk_of / TRUNK)
        command = [
            *(sys.executable, "-m", "linewatch.cli", "train", run.recipe, "--resume"),
            *("--data", f"{run.data}={self.folders[run.data]}", "--run", str(folder)),
            *(argument for change in run.changes for argument in ("--set", change)),
            *(("--weights", weights) if weights is not None else ()),
            *(("--kfold", str(run.kfold)) if run.kfold is not None else ()),
        ]
        log.info("run_started", run=run.name)
        with (folder / LOG).open("ab") as output:
            # The lock lives as long as the run, even where the queue is killed: nobody starts it a second time.
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=[lock], start_new_session=True
            )

    def _last_line(self, name: str, code: int) -> str:
        lines = (self.runs / name / LOG).read_text(errors="replace").strip().splitlines()
        return lines[-1][-300:] if lines else f"exit code {code}"

    def _states(self, work: list[RunWork]) -> list[RunState]:
        return [state_of(one, self.runs / one.run.name) for one in work]

    def _show(self, states: list[RunState], shown: Callable[[int, str], None]) -> None:
        done, left = sum(s.done_gflop for s in states), sum(s.left_gflop for s in states)
        seconds = seconds_left(states, self.queue.at_once)
        note = f"{sum(state.ended for state in states)} of {len(states)} runs ended"
        note += f", {len(self.failures)} failed" if self.failures else ""
        note += "" if seconds is None else f", at most {timedelta(seconds=round(seconds, -1))} left"
        shown(round(_STEPS * done / max(done + left, 1e-9)), f"{note}: {', '.join(self._processes)}")

    def _end(self) -> None:
        self._ending = True

    def _end_processes(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
