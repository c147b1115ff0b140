"""The loaded engines of a service, which several workers run at the same time."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import EngineManifest, Task
from linewatch.contracts.ports import Backend, Executor
from linewatch.contracts.tile import Batch, BatchResult
from linewatch.inference.engines import Engine, EngineSet
from linewatch.inference.model_ports import promised_output


@dataclass(frozen=True, slots=True)
class _Loaded:
    identity: str
    executors: tuple[Executor, ...]


class EnginePool:
    """One executor per loaded engine and worker. It starts no thread: the caller has one for each worker number.

    Opening compiles every executor and runs it once, so that the first frame takes no longer than a later one. Raises
    EngineError.
    """

    def __init__(self, engines: EngineSet, backend: Backend, ladder: Sequence[int], workers: int) -> None:
        self.workers = workers
        self._ladder = tuple(ladder)
        self._loaded: dict[tuple[Task, int], _Loaded] = {}
        self._busy = [threading.Lock() for _ in range(workers)]
        self._open = True
        for engine in engines.by_task().values():
            self.load(engine, 0, backend)

    def load(self, engine: Engine, generation: int, backend: Backend) -> str:
        """Open an engine beside the running ones and return its identity. On EngineError nothing has changed."""
        executors = backend.open(engine.manifest, engine.model, self._ladder, self.workers)
        for executor in executors:
            _warm(executor, engine.manifest)
        identity = backend.identity(engine.manifest)
        self._loaded[engine.manifest.task, generation] = _Loaded(identity, executors)
        if not self._open:
            self.drop(engine.manifest.task, generation)
            raise EngineError(f"engine {engine.manifest.name}: the service ended while it was loaded")
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

        A score that is not a finite number is a failure, since it would count as clean steel.
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
            took_ns = time.perf_counter_ns() - started_ns
        if output.dtype.kind == "f" and not np.isfinite(output).all():
            return BatchResult(batch, identity, None, f"engine {task}: gave scores that are not finite numbers")
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


def _warm(executor: Executor, manifest: EngineManifest) -> None:
    """Run once. Raise EngineError unless the output is as promised, which some runtimes know only after a run."""
    output = executor.run(np.zeros((1, 1, manifest.input.lines, manifest.input.width), np.uint8), 1)
    wanted = promised_output(manifest)
    if (output.dtype != wanted.dtype) or output.shape != (1, *wanted.dims[1:]):
        raise EngineError(
            f"engine {manifest.name}: a run gave {output.dtype} {output.shape}, its manifest promises {wanted}; "
            "export the model and its manifest together"
        )
