"""The runner makes a topology's queues, starts the threads of its stages, and ends them in order."""

import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any

import structlog

from linewatch.contracts.errors import LinewatchError, StageError
from linewatch.contracts.ports import Clock
from linewatch.daemon.health import Health
from linewatch.daemon.stages.wiring import TICK_S, ItemCount, Output, QueueRow, StageRow, Step_contra, Wiring
from linewatch.wire.schema import ServiceState

log = structlog.get_logger()

DRAIN_LIMIT_S = 10.0
"""A stage that is silent for longer is hung, and after an end stages finish within this: else the exit is an error."""
STOOD_NS = 5_000_000_000
"""The main thread looks several times a second: after a longer pause the process stood, not a stage."""


class Runner:
    """Runs the stages that were added until the source ends, `stop()` is called or a stage fails.

    The first failure is kept, everything is stopped in order, and `run` raises it as StageError. What was decided
    before has gone through the outlet by then, unless the outlet itself is what failed.
    """

    def __init__(
        self, clock: Clock, topology: Sequence[StageRow[Any]], workers: int, stop_source: Callable[[], None]
    ) -> None:
        """workers: threads of each stage that is `per_worker`. stop_source: ends the source, from any thread."""
        self._clock, self._topology, self._workers, self._stop_source = clock, topology, workers, stop_source
        self._queues = {row: row.make() for stage in topology for row in (stage.takes, *stage.gives) if row is not None}
        self._loops: dict[StageRow[Any], Callable[[Wiring], None]] = {}
        self._opened: dict[StageRow[Any], threading.Event] = {}
        self._abort = threading.Event()  # a stage failed: finish without draining
        self._drained = threading.Event()  # the outlet has had the last item
        self._stopped = threading.Event()  # somebody asked for the end
        self._failing = threading.Lock()
        self._failure: LinewatchError | None = None
        self._started_ns = self._ended_ns = 0
        self._looked_ns = self._stood_until_ns = clock.now_ns()
        self.state = ServiceState.STARTING
        self.pausing = False
        self.health = Health(clock)
        self.stages: dict[str, StageRow[Any]] = {}
        """By the name of each supervised thread."""
        self.handled: dict[str, ItemCount] = {}
        """Likewise."""

    def add(self, stage: StageRow[Step_contra], step: Step_contra) -> None:
        """Have a stage run with this step. Add stages in the order of the topology."""
        self._loops[stage] = partial(stage.run, step)
        self._opened[stage] = threading.Event()
        if stage.silence_limit_s < inf:
            for name in self._thread_names(stage):
                self.stages[name] = stage
                self.handled[name] = ItemCount()
                self.health.expect(name, stage.silence_limit_s)

    def stop(self) -> None:
        """End the source; what came from it is still decided and published. From any thread or a signal handler."""
        self.state = ServiceState.DRAINING
        self._stopped.set()
        self._stop_source()

    def pause(self) -> None:
        """As `stop`, of a service that will be started again: its coil goes on then, so it does not end now."""
        self.pausing = True
        self.stop()

    def hand(self, row: QueueRow, item: object) -> None:
        """Put something into a queue beside what the stages put there. From any thread."""
        self._queues[row].put(item)

    def queued(self, stage: StageRow[Any]) -> int:
        """Return how many items wait for the stage now."""
        return 0 if stage.takes is None else self._queues[stage.takes].qsize()

    def run(self, ready: Callable[[], None], watch: Callable[[], None], every_s: float, hold_s: float = 0.0) -> None:
        """Block until all is drained, then serve consumers for `hold_s` more, or until `stop`.

        `ready` is called once the sockets are bound, `watch` every `every_s` seconds.

        Raises StageError; what keeps a socket from being bound is raised as it is.
        """
        supervised = [stage for stage in self._loops if stage.silence_limit_s < inf]
        binding = [stage for stage in supervised if stage.binds]
        outward = [thread for stage in binding for thread in self._threads(stage)]
        # What takes from a queue starts before what fills it.
        inward = [thread for stage in reversed(supervised) if not stage.binds for thread in self._threads(stage)]
        aside = [thread for stage in self._loops if stage not in supervised for thread in self._threads(stage)]
        for thread in (*aside, *outward):
            thread.start()
        while not all(self._opened[stage].wait(TICK_S) for stage in binding) and not self._abort.is_set():
            pass
        if not self._abort.is_set():
            self.state = ServiceState.RUNNING
            ready()
            self._started_ns = self._clock.now_ns()
            for thread in inward:
                thread.start()
        while not self._drained.wait(every_s) and not self._abort.is_set():
            watch()
            self._end_if_hung()
        if self._drained.is_set():
            self._stopped.wait(hold_s)
        self._stop_source()
        self._abort.set()
        deadline_ns = self._clock.now_ns() + int(DRAIN_LIMIT_S * 1e9)
        for thread in (*inward, *outward):  # what runs aside may hang, and ends by itself
            if thread.ident is None:
                continue
            thread.join(max(0.0, (deadline_ns - self._clock.now_ns()) / 1e9))
            if thread.is_alive():
                self._fail(StageError(f"stage {thread.name} did not end within {DRAIN_LIMIT_S:.0f} s; it is hung"))
        if self._failure is not None:
            raise self._failure

    @property
    def elapsed_s(self) -> float:
        """Seconds from the first read of the source until all was published; until now while it runs."""
        if not self._started_ns:
            return 0.0
        return ((self._ended_ns or self._clock.now_ns()) - self._started_ns) / 1e9

    @property
    def failure(self) -> LinewatchError | None:
        """The first failure of a stage, if one failed."""
        return self._failure

    def _thread_names(self, stage: StageRow[Any]) -> list[str]:
        return [f"{stage.name}-{worker}" for worker in range(self._workers)] if stage.per_worker else [stage.name]

    def _threads(self, stage: StageRow[Any]) -> list[threading.Thread]:
        takers = {row.takes: len(self._thread_names(row)) for row in self._topology}
        threads = []
        for worker, name in enumerate(self._thread_names(stage)):
            tick = partial(self.health.tick, name)
            outputs = tuple(Output(self._queues[row], takers[row], tick, self._abort) for row in stage.gives)
            takes = None if stage.takes is None else self._queues[stage.takes]
            handled = self.handled.get(name, ItemCount())
            wiring = Wiring(worker, takes, outputs, tick, self._abort, self._opened[stage], self._end_is_out, handled)
            threads.append(threading.Thread(target=self._guard, args=(stage, name, wiring), name=name, daemon=True))
        return threads

    def _guard(self, stage: StageRow[Any], name: str, wiring: Wiring) -> None:
        try:
            _lower_priority(stage.nice)
            self._loops[stage](wiring)
            self.health.finish(name)
        except LinewatchError as error:
            opening = stage.binds and not wiring.opened.is_set()
            self._fail(error if opening else StageError(f"stage {name} failed: {error}"), error)
        except Exception as error:
            log.exception("stage_failed", stage=name)
            self._fail(StageError(f"stage {name} failed: {type(error).__name__}: {error}"), error)

    def _fail(self, failure: LinewatchError, cause: BaseException | None = None) -> None:
        with self._failing:
            if self._failure is None:
                if cause is not failure:
                    failure.__cause__ = cause
                self._failure = failure
        self._abort.set()

    def _end_if_hung(self) -> None:
        """Fail when a stage is silent for too long.

        Time in which this thread stood as well counts for no stage: the whole process, or its host, was stopped.
        """
        now_ns = self._clock.now_ns()
        if now_ns - self._looked_ns > STOOD_NS:
            self._stood_until_ns = now_ns
        self._looked_ns = now_ns
        if now_ns - self._stood_until_ns <= DRAIN_LIMIT_S * 1e9:
            return
        ages_s = self.health.ages_s()
        hung = [
            name for name in self.health.silent() if not self.stages[name].may_stand and ages_s[name] > DRAIN_LIMIT_S
        ]
        if hung:
            self._fail(StageError(f"stage {', '.join(hung)} is hung: silent for more than {DRAIN_LIMIT_S:.0f} s"))

    def _end_is_out(self) -> None:
        if not self._drained.is_set():
            self.state = ServiceState.DRAINING
            self._ended_ns = self._clock.now_ns()
            self._drained.set()


def _lower_priority(nice: int) -> None:
    """Lower the calling thread's priority, from where the process stands; on Linux each thread has its own."""
    if nice:
        own = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, own, os.getpriority(os.PRIO_PROCESS, own) + nice)
