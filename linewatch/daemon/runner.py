"""The only place that makes threads and queues: it runs the rows of the topology until the source ends or is stopped."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import Empty, Full, Queue, SimpleQueue
from typing import TypeVar

import structlog

from linewatch.contracts.errors import LinewatchError, StageError
from linewatch.contracts.frame import Frame
from linewatch.contracts.ports import Clock
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.tile import Batch
from linewatch.contracts.verdict import Decided
from linewatch.daemon.health import Health
from linewatch.daemon.topology import (
    CAPTURE,
    CASCADE,
    CATCHUP,
    DECIDED_QUEUE,
    DECISION,
    DRAIN_LIMIT_S,
    ENGINE,
    OUTLET,
    TICK_S,
)

log = structlog.get_logger()
T = TypeVar("T")

END = None
"""Travels down the queues behind the last item."""


@dataclass(frozen=True, slots=True)
class Work:
    """The work of each stage, as plain callables; the runner adds threads, queues, ticks and the order to stop in.

    capture: next frames in strip order, () when none came within a tick, None at the end of the source.
    cascade: feed / done / due give batches to run, ready gives predictions in strip order, idle once all are given.
    engine: runs a batch on a worker's own executor; never raises for what an engine does wrong.
    decide, finish: prediction -> what was decided; the end of the source -> the last coil's notice.
    outlet, heartbeat: make it durable and publish it; `heartbeat` returns seconds until it wants to be called again.
    serve: answer requests for at most `timeout_s`.
    """

    capture: Callable[[float], tuple[Frame, ...] | None]
    stop_capture: Callable[[], None]
    cascade: Any
    engine: Callable[[int, Batch], Any]
    decide: Callable[[Prediction], tuple[Decided, ...]]
    finish: Callable[[], tuple[Decided, ...]]
    outlet: Callable[[Decided], None]
    heartbeat: Callable[[], float]
    serve: Callable[[float], None]
    workers: int


class Runner:
    """Runs `work` until the source ends, `stop()` is called or a stage fails.

    The first failure is kept, everything is stopped in order, and `run` raises it as StageError. What was decided before
    has gone through the outlet by then, unless the outlet itself is what failed.
    """

    def __init__(self, work: Work, clock: Clock) -> None:
        self._work = work
        self._clock = clock
        self._inbox: SimpleQueue[Frame | BatchResult | None] = SimpleQueue()  # frames and results, for the cascade
        self._jobs: SimpleQueue[Batch | None] = SimpleQueue()
        self._predictions: SimpleQueue[Prediction | None] = SimpleQueue()
        self._decided: Queue[Decided | None] = Queue(DECIDED_QUEUE)
        self._abort = threading.Event()  # a stage failed: finish without draining
        self._drained = threading.Event()  # the outlet has had the last item
        self._failure: StageError | None = None
        self._failing = threading.Lock()
        self.engines = tuple(f"{ENGINE.name}-{i}" for i in range(work.workers))
        rows = (CAPTURE, CASCADE, DECISION, OUTLET, CATCHUP)
        limits = {row.name: row.silence_limit_s for row in rows} | dict.fromkeys(self.engines, ENGINE.silence_limit_s)
        self.health = Health(limits, clock)

    def stop(self) -> None:
        """End capture; what was captured is still decided and published. From any thread or a signal handler."""
        self._work.stop_capture()

    def queue_fill(self) -> dict[str, int]:
        """Items waiting in each queue now."""
        return {
            "frames": self._inbox.qsize(),
            "jobs": self._jobs.qsize(),
            "predictions": self._predictions.qsize(),
            "decided": self._decided.qsize(),
        }

    def run(self, watch: Callable[[], None], every_s: float) -> None:
        """Block until all is drained, calling `watch` every `every_s` seconds on this thread. Raises StageError."""
        loops: list[tuple[str, Callable[[], None]]] = [
            (OUTLET.name, self._run_outlet),
            (DECISION.name, self._run_decision),
            *((name, lambda worker=i: self._run_engine(worker)) for i, name in enumerate(self.engines)),  # type: ignore[misc]
            (CASCADE.name, self._run_cascade),
            (CAPTURE.name, self._run_capture),
            (CATCHUP.name, self._run_catchup),
        ]
        threads = [threading.Thread(target=self._guard, args=row, name=row[0], daemon=True) for row in loops]
        for thread in threads:
            thread.start()
        while not self._drained.wait(every_s) and not self._abort.is_set():
            watch()
        self._work.stop_capture()
        self._abort.set()
        deadline_ns = self._clock.now_ns() + int(DRAIN_LIMIT_S * 1e9)
        for thread in threads:
            thread.join(max(0.0, (deadline_ns - self._clock.now_ns()) / 1e9))
            if thread.is_alive():
                self._fail(StageError(f"stage {thread.name} did not end within {DRAIN_LIMIT_S:.0f} s; it is hung"))
        if self._failure is not None:
            raise self._failure

    def _guard(self, stage: str, loop: Callable[[], None]) -> None:
        try:
            loop()
            self.health.finish(stage)
        except LinewatchError as error:
            self._fail(StageError(f"stage {stage} failed: {error}"), error)
        except Exception as error:
            log.exception("stage_failed", stage=stage)
            self._fail(StageError(f"stage {stage} failed: {type(error).__name__}: {error}"), error)

    def _fail(self, failure: StageError, cause: BaseException | None = None) -> None:
        with self._failing:
            if self._failure is None:
                failure.__cause__ = cause
                self._failure = failure
        self._abort.set()

    def _run_capture(self) -> None:
        ordinal = 0
        while not self._abort.is_set():
            frames = self._work.capture(TICK_S)
            self.health.tick(CAPTURE.name)
            if frames is None:
                break
            for frame in frames:
                self._inbox.put(replace(frame, ordinal=ordinal))
                ordinal += 1
        self._inbox.put(END)

    def _run_cascade(self) -> None:
        cascade, ended = self._work.cascade, False
        while not (ended and cascade.idle) and not self._abort.is_set():
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
                else:
                    batches += cascade.done(item, now_ns)
            self.health.tick(CASCADE.name)
            batches += cascade.flush() if ended else cascade.due(self._clock.now_ns())
            for batch in batches:
                self._jobs.put(batch)
            for prediction in cascade.take_ready():
                self._predictions.put(prediction)
        for _ in self.engines:
            self._jobs.put(END)
        self._predictions.put(END)

    def _run_engine(self, worker: int) -> None:
        for batch in self._taken(self._jobs, self.engines[worker]):
            self._inbox.put(self._work.engine(worker, batch))

    def _run_decision(self) -> None:
        for prediction in self._taken(self._predictions, DECISION.name):
            for decided in self._work.decide(prediction):
                self._hand_on(decided)
        for decided in self._work.finish():
            self._hand_on(decided)
        self._hand_on(END)

    def _hand_on(self, decided: Decided | None) -> None:
        while not self._abort.is_set():
            with suppress(Full):
                self._decided.put(decided, timeout=TICK_S)
                return
            self.health.tick(DECISION.name)

    def _run_outlet(self) -> None:
        wait_s = 0.0
        while not self._abort.is_set():
            with suppress(Empty):
                decided = self._decided.get(timeout=wait_s)
                if decided is END:
                    break
                self._work.outlet(decided)
            self.health.tick(OUTLET.name)
            wait_s = self._work.heartbeat()
        self._flush_decided()
        self._drained.set()

    def _flush_decided(self) -> None:
        """Another stage failed: what was decided before that is still journaled and published."""
        with suppress(Empty):
            while (decided := self._decided.get_nowait()) is not END:
                self._work.outlet(decided)

    def _run_catchup(self) -> None:
        while not self._drained.is_set() and not self._abort.is_set():
            self._work.serve(TICK_S)
            self.health.tick(CATCHUP.name)

    def _taken(self, queue: SimpleQueue[T | None], stage: str) -> Iterator[T]:
        """Items of `queue` until END or abort, ticking for `stage` before each and while idle."""
        while not self._abort.is_set():
            self.health.tick(stage)
            with suppress(Empty):
                item = queue.get(timeout=TICK_S)
                if item is END:
                    return
                yield item
