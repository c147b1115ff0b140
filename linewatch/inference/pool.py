"""The loaded engines of a service, which several workers run at the same time."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import structlog

from linewatch.contracts.errors import EngineError
from linewatch.contracts.histogram import DurationHistogram
from linewatch.contracts.manifest import EngineManifest, Task
from linewatch.contracts.ports import Backend, Executor
from linewatch.contracts.tile import Batch, BatchResult
from linewatch.inference.answers import AnswerCheck
from linewatch.inference.engines import Engine, EngineSet
from linewatch.inference.reference_tiles import lacking, precision_of, try_out

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Loaded:
    engine: Engine
    identity: str
    check: AnswerCheck
    executors: tuple[Executor, ...]


class EnginePool:
    """One executor per loaded engine and worker. It starts no thread: the caller has one for each worker number.

    Opening compiles every executor and runs it, so that the first frame takes no longer than a later one; the first one
    runs on the engine's reference tiles, whose answers are checked. Raises EngineError.
    """

    def __init__(self, engines: EngineSet, backend: Backend, ladder: Sequence[int], workers: int) -> None:
        self.workers = workers
        self._ladder = tuple(ladder)
        self._loaded: dict[tuple[Task, int], _Loaded] = {}
        self.batch_times: dict[tuple[Task, str], DurationHistogram] = {}
        """How long batches took, by task and the identity of the engine; since the start."""
        self._busy = [threading.Lock() for _ in range(workers)]
        self._open = True
        for engine in engines.by_task().values():
            self.load(engine, 0, backend)

    def load(self, engine: Engine, generation: int, backend: Backend) -> str:
        """Open an engine beside the running ones and return its identity. On EngineError nothing has changed."""
        manifest = engine.manifest
        executors = backend.open(manifest, engine.model, self._ladder, self.workers)
        identity = backend.identity(manifest)
        check = AnswerCheck(manifest)
        try:
            try_out(manifest, engine.reference, precision_of(identity), lambda tile: executors[0].run(tile, 1))
            for executor in executors[1:]:
                _warm(executor, manifest, check)
        except Exception:
            for executor in executors:
                executor.close()
            raise
        if engine.reference is None:
            log.warning("engine_without_reference", engine=manifest.name, text=lacking(manifest))
        self.batch_times.setdefault((manifest.task, identity), DurationHistogram())
        self._loaded[manifest.task, generation] = _Loaded(engine, identity, check, executors)
        if not self._open:
            self.drop(manifest.task, generation)
            raise EngineError(f"engine {manifest.name}: the service ended while it was loaded")
        return identity

    def drop(self, task: Task, generation: int) -> None:
        """Close an engine that no batch needs any longer."""
        loaded = self._loaded.pop((task, generation))
        for busy, executor in zip(self._busy, loaded.executors, strict=True):
            with busy:
                executor.close()

    def identity(self, task: Task, generation: int = 0) -> str:
        """Return the identity of a loaded engine."""
        return self._loaded[task, generation].identity

    def run(self, worker: int, batch: Batch) -> BatchResult:
        """Run a batch on the calling thread, as `worker`. A failure is a result with an error, not an exception.

        An answer that is no probability of the promised shape is a failure, since it would be believed.
        """
        task = Task(batch.engine)
        loaded = self._loaded[task, batch.generation]
        identity = loaded.identity
        with self._busy[worker]:
            if not self._open:
                return BatchResult(batch, identity, None, "the engine pool is closed")
            started_ns = time.perf_counter_ns()
            try:
                output = loaded.executors[worker].run(batch.pixels, len(batch.refs), batch.out)
            except EngineError as error:
                return BatchResult(batch, identity, None, str(error))
            except Exception as error:  # a runtime's own; whatever it is, the other engines go on
                return BatchResult(batch, identity, None, f"engine {task}: {type(error).__name__}: {error}")
            took_ns = time.perf_counter_ns() - started_ns
        self.batch_times[task, identity].add(took_ns / 1e9)
        if fault := loaded.check.fault(output, len(batch.refs)):
            return BatchResult(batch, identity, None, f"engine {loaded.engine.manifest.name} {fault}")
        return BatchResult(batch, identity, output, took_ns=took_ns)

    def close(self, timeout_s: float = 10.0) -> None:
        """Let every worker finish its batch, then close its executors, except those of a worker that still hangs."""
        self._open = False
        for worker, busy in enumerate(self._busy):
            if busy.acquire(timeout=timeout_s):
                try:
                    for loaded in tuple(self._loaded.values()):
                        loaded.executors[worker].close()
                finally:
                    busy.release()

    def __enter__(self) -> "EnginePool":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _warm(executor: Executor, manifest: EngineManifest, check: AnswerCheck) -> None:
    """Run once. Raise EngineError unless the answer is as promised."""
    answer = executor.run(np.zeros((1, 1, manifest.input.lines, manifest.input.width), np.uint8), 1)
    if fault := check.fault(answer, 1):
        raise EngineError(f"engine {manifest.name} {fault}")
