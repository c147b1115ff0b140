"""The only place that makes threads and queues: it runs the rows of the topology until the source ends."""

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from math import inf
from queue import Empty, Full, PriorityQueue, Queue, SimpleQueue
from typing import Protocol

import structlog

from linewatch.contracts.alarm import AlarmOrder
from linewatch.contracts.errors import LinewatchError, StageError
from linewatch.contracts.frame import Frame
from linewatch.contracts.ports import Clock
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.tile import Batch, BatchResult
from linewatch.contracts.verdict import Decided
from linewatch.daemon.health import Health
from linewatch.daemon.topology import (
    CAPTURE,
    CASCADE,
    CATCHUP,
    COIL_FILES,
    COMMANDS,
    DECIDED_QUEUE,
    DECISION,
    DRAIN_LIMIT_S,
    ENGINE,
    EXCHANGE,
    OUTLET,
    TICK_S,
)
from linewatch.wire.schema import ServiceState

log = structlog.get_logger()

END = None
"""Travels down the queues behind the last item."""


class CascadeStep(Protocol):
    """The state machine between frames and predictions; `inference.cascade.Cascade` is one."""

    @property
    def pending(self) -> int: ...
    def done(self, result: BatchResult, now_ns: int) -> tuple[Batch, ...]: ...
    def due(self, now_ns: int) -> tuple[Batch, ...]: ...
    def flush(self) -> tuple[Batch, ...]: ...
    def next_deadline_ns(self) -> int | None: ...
    def take_ready(self) -> list[Prediction]: ...


class OutletStep(Protocol):
    """Makes what was decided durable, then publishes it."""

    def __call__(self, decided: Decided) -> None: ...
    def heartbeat(self) -> float:
        """Beat if it is time, and give the seconds until it wants to be called again."""
        ...


@dataclass(frozen=True, slots=True)
class Work:
    """The work of each stage, as plain callables; the runner adds threads, queues, ticks and the order to stop in.

    capture: next frames in strip order, () when none came within `timeout_s`, None at the end of the source.
    feed: a frame into the cascade, at a time; gives the batches that it made ready. `cascade` does the rest.
    engine: run a batch on a worker's own executor; never raises for what an engine does wrong.
    decide, finish: a prediction or an operator's order, or the end of the source, -> what is decided. attend: called
    between these, and while none comes -> the same.
    open_outlet, open_catchup, open_commands: opened, used and closed on the stage's own thread, as ZeroMQ's sockets
    want it. exchange: do what is to be done with engines, waiting at most so long for something; coil_files: the same
    with files about coils.
    """

    capture: Callable[[float], tuple[Frame, ...] | None]
    stop_capture: Callable[[], None]
    feed: Callable[[Frame, int], tuple[Batch, ...]]
    cascade: CascadeStep
    engine: Callable[[int, Batch], BatchResult]
    decide: Callable[[Prediction | AlarmOrder], tuple[Decided, ...]]
    attend: Callable[[], tuple[Decided, ...]]
    finish: Callable[[], tuple[Decided, ...]]
    open_outlet: Callable[[], AbstractContextManager[OutletStep]]
    open_catchup: Callable[[], AbstractContextManager[Callable[[float], None]]]
    workers: int
    open_commands: Callable[[], AbstractContextManager[Callable[[float], None]]] | None = None
    exchange: Callable[[float], None] | None = None
    coil_files: Callable[[float], None] | None = None


class Runner:
    """Runs `work` until the source ends, `stop()` is called or a stage fails.

    The first failure is kept, everything is stopped in order, and `run` raises it as StageError. What was decided
    before has gone through the outlet by then, unless the outlet itself is what failed.
    """

    def __init__(self, work: Work, clock: Clock) -> None:
        self._work = work
        self._clock = clock
        # For the cascade: frames, results, and what is to be done between two frames.
        self._inbox: SimpleQueue[Frame | BatchResult | Callable[[], None] | None] = SimpleQueue()
        # The oldest frame's work first: frames leave in order, so whatever overtakes it only waits for it.
        self._jobs: PriorityQueue[tuple[float, int, Batch | None]] = PriorityQueue()
        self._job_number = count()
        self._predictions: SimpleQueue[Prediction | AlarmOrder | None] = SimpleQueue()
        self._decided: Queue[Decided | None] = Queue(DECIDED_QUEUE)
        self._abort = threading.Event()  # a stage failed: finish without draining
        self._drained = threading.Event()  # the outlet has had the last item
        self._stopped = threading.Event()  # somebody asked for the end
        self._failure: LinewatchError | None = None
        serving = {CATCHUP.name: work.open_catchup}
        if work.open_commands is not None:
            serving[COMMANDS.name] = work.open_commands
        self._serving = serving
        self._opened = {name: threading.Event() for name in (OUTLET.name, *serving)}
        self._failing = threading.Lock()
        self.state = ServiceState.STARTING
        self._started_ns = self._ended_ns = 0
        self.engines = tuple(f"{ENGINE.name}-{i}" for i in range(work.workers))
        rows = [CAPTURE, CASCADE, DECISION, OUTLET, CATCHUP]
        rows += [COMMANDS] if work.open_commands is not None else []
        limits = {row.name: row.silence_limit_s for row in rows} | dict.fromkeys(self.engines, ENGINE.silence_limit_s)
        self.health = Health(limits, clock)

    def stop(self) -> None:
        """End capture; what was captured is still decided and published. From any thread or a signal handler."""
        self.state = ServiceState.DRAINING
        self._stopped.set()
        self._work.stop_capture()

    def between_frames(self, action: Callable[[], None]) -> None:
        """Have `action` done on the cascade's thread between two frames. From any thread."""
        self._inbox.put(action)

    def order(self, order: AlarmOrder) -> None:
        """Have an order carried out on the decision's thread between two frames. From any thread."""
        self._predictions.put(order)

    def queue_fill(self) -> dict[str, int]:
        """Items waiting in each queue now."""
        return {
            "frames": self._inbox.qsize(),
            "jobs": self._jobs.qsize(),
            "predictions": self._predictions.qsize(),
            "decided": self._decided.qsize(),
        }

    def run(self, ready: Callable[[], None], watch: Callable[[], None], every_s: float, hold_s: float = 0.0) -> None:
        """Block until all is drained, then serve consumers for `hold_s` more, or until `stop`.

        `ready` is called once the sockets are bound, `watch` every `every_s` seconds.

        Raises StageError; what keeps a socket from being bound is raised as it is.
        """
        outward = [
            self._thread(OUTLET.name, self._run_outlet),
            *(self._thread(name, partial(self._run_serving, name, opened)) for name, opened in self._serving.items()),
        ]
        inward = [
            self._thread(DECISION.name, self._run_decision),
            *(self._thread(name, partial(self._run_engine, i)) for i, name in enumerate(self.engines)),
            self._thread(CASCADE.name, self._run_cascade),
            self._thread(CAPTURE.name, self._run_capture),
        ]
        for row, step in ((EXCHANGE, self._work.exchange), (COIL_FILES, self._work.coil_files)):
            if step is not None:
                self._thread(row.name, partial(self._run_aside, step)).start()  # ends by itself
        for thread in outward:
            thread.start()
        while not all(opened.wait(TICK_S) for opened in self._opened.values()) and not self._abort.is_set():
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
        self._work.stop_capture()
        self._abort.set()
        deadline_ns = self._clock.now_ns() + int(DRAIN_LIMIT_S * 1e9)
        for thread in [*inward, *outward]:
            if thread.ident is None:
                continue
            thread.join(max(0.0, (deadline_ns - self._clock.now_ns()) / 1e9))
            if thread.is_alive():
                self._fail(StageError(f"stage {thread.name} did not end within {DRAIN_LIMIT_S:.0f} s; it is hung"))
        if self._failure is not None:
            raise self._failure

    def _end_if_hung(self) -> None:
        """A stage that is silent for so long will not come back. A silent camera may: the line stands."""
        ages_s = self.health.ages_s()
        hung = [name for name in self.health.silent() if name != CAPTURE.name and ages_s[name] > DRAIN_LIMIT_S]
        if hung:
            self._fail(StageError(f"stage {', '.join(hung)} is hung: silent for more than {DRAIN_LIMIT_S:.0f} s"))

    @property
    def elapsed_s(self) -> float:
        """From the first read of the source until all was published; until now while it runs."""
        if not self._started_ns:
            return 0.0
        return ((self._ended_ns or self._clock.now_ns()) - self._started_ns) / 1e9

    @property
    def failure(self) -> LinewatchError | None:
        """The first failure of a stage, if one failed."""
        return self._failure

    def _thread(self, stage: str, loop: Callable[[], None]) -> threading.Thread:
        return threading.Thread(target=self._guard, args=(stage, loop), name=stage, daemon=True)

    def _guard(self, stage: str, loop: Callable[[], None]) -> None:
        try:
            loop()
            self.health.finish(stage)
        except LinewatchError as error:
            opening = stage in self._opened and not self._opened[stage].is_set()
            self._fail(error if opening else StageError(f"stage {stage} failed: {error}"), error)
        except Exception as error:
            log.exception("stage_failed", stage=stage)
            self._fail(StageError(f"stage {stage} failed: {type(error).__name__}: {error}"), error)

    def _fail(self, failure: LinewatchError, cause: BaseException | None = None) -> None:
        with self._failing:
            if self._failure is None:
                if cause is not failure:
                    failure.__cause__ = cause
                self._failure = failure
        self._abort.set()

    def _run_capture(self) -> None:
        while not self._abort.is_set():
            frames = self._work.capture(TICK_S)
            self.health.tick(CAPTURE.name)
            if frames is None:
                break
            for frame in frames:
                self._inbox.put(frame)
        self._inbox.put(END)

    def _run_cascade(self) -> None:
        cascade, ended = self._work.cascade, False
        while not (ended and not cascade.pending) and not self._abort.is_set():
            now_ns = self._clock.now_ns()
            deadline_ns = cascade.next_deadline_ns()
            wait_s = TICK_S if deadline_ns is None else min(TICK_S, max(0.0, (deadline_ns - now_ns) / 1e9))
            batches: list[Batch] = []
            with suppress(Empty):
                item = self._inbox.get(timeout=wait_s)
                now_ns = self._clock.now_ns()
                if item is END:
                    ended = True
                elif isinstance(item, Frame):
                    batches += self._work.feed(item, now_ns)
                elif isinstance(item, BatchResult):
                    batches += cascade.done(item, now_ns)
                else:
                    item()
            self.health.tick(CASCADE.name)
            batches += cascade.flush() if ended else cascade.due(self._clock.now_ns())
            for batch in batches:
                self._jobs.put((min(ref.ordinal for ref in batch.refs), next(self._job_number), batch))
            for prediction in cascade.take_ready():
                self._predictions.put(prediction)
        for _ in self.engines:
            self._jobs.put((inf, next(self._job_number), END))
        self._predictions.put(END)

    def _run_engine(self, worker: int) -> None:
        _stand_back(ENGINE.nice)
        while not self._abort.is_set():
            self.health.tick(self.engines[worker])
            with suppress(Empty):
                _, _, batch = self._jobs.get(timeout=TICK_S)
                if batch is END:
                    return
                self._inbox.put(self._work.engine(worker, batch))

    def _run_decision(self) -> None:
        while not self._abort.is_set():
            self.health.tick(DECISION.name)
            self._hand_all_on(self._work.attend())
            with suppress(Empty):
                item = self._predictions.get(timeout=TICK_S)
                if item is END:
                    break
                self._hand_all_on(self._work.decide(item))
        self._hand_all_on(self._work.finish())
        self._hand_on(END)

    def _hand_all_on(self, decided: tuple[Decided, ...]) -> None:
        for item in decided:
            self._hand_on(item)

    def _hand_on(self, decided: Decided | None) -> None:
        while not self._abort.is_set():
            with suppress(Full):
                self._decided.put(decided, timeout=TICK_S)
                return
            self.health.tick(DECISION.name)

    def _run_outlet(self) -> None:
        with self._work.open_outlet() as outlet:
            self._opened[OUTLET.name].set()
            wait_s = 0.0
            while not self._abort.is_set():
                with suppress(Empty):
                    decided = self._decided.get(timeout=wait_s)
                    if decided is END:
                        self._all_is_out()  # and the heartbeat goes on while consumers are served
                    else:
                        outlet(decided)
                self.health.tick(OUTLET.name)
                wait_s = outlet.heartbeat()
            # Another stage failed: what was decided before that is still journaled and published.
            with suppress(Empty):
                while (decided := self._decided.get_nowait()) is not END:
                    outlet(decided)
        if not self._drained.is_set():
            self._all_is_out()

    def _all_is_out(self) -> None:
        self.state = ServiceState.DRAINING
        self._ended_ns = self._clock.now_ns()
        self._drained.set()

    def _run_serving(self, stage: str, opened: Callable[[], AbstractContextManager[Callable[[float], None]]]) -> None:
        with opened() as serve:
            self._opened[stage].set()
            while not self._abort.is_set():
                serve(TICK_S)
                self.health.tick(stage)

    def _run_aside(self, step: Callable[[float], None]) -> None:
        while not self._abort.is_set():
            step(TICK_S)


def _stand_back(nice: int) -> None:
    """Lower the calling thread's priority, from where the process stands; on Linux each thread has its own."""
    own = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, own, os.getpriority(os.PRIO_PROCESS, own) + nice)
