"""The engines of a service on one backend, ready to be run by several workers at once."""

import threading
from collections.abc import Sequence

import numpy as np

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import EngineManifest, Task
from linewatch.contracts.ports import Backend, Executor
from linewatch.contracts.tile import Batch, BatchResult
from linewatch.inference.engines import EngineSet
from linewatch.inference.fit import promised_output


class EnginePool:
    """One executor per engine and worker. Makes no thread: each worker number is a thread of its owner's.

    Opening compiles and runs every executor once, so that a first frame costs no more than a later one; it raises
    EngineError.
    """

    def __init__(self, engines: EngineSet, backend: Backend, ladder: Sequence[int], workers: int) -> None:
        self.workers = workers
        self.identities: dict[Task, str] = {}
        self._executors: dict[Task, tuple[Executor, ...]] = {}
        self._busy = [threading.Lock() for _ in range(workers)]
        self._open = True
        for task, engine in engines.by_task().items():
            self._executors[task] = backend.open(engine.manifest, engine.model, ladder, workers)
            self.identities[task] = backend.identity(engine.manifest)
            for executor in self._executors[task]:
                _warm(executor, engine.manifest)

    def run(self, worker: int, batch: Batch) -> BatchResult:
        """Run a batch on the calling thread, as `worker`. A failing engine is a result with an error, not an exception.

        A score that is not a number is a failure as well: it would pass for clean steel.
        """
        task = Task(batch.engine)
        identity = self.identities[task]
        with self._busy[worker]:
            if not self._open:
                return BatchResult(batch, identity, None, "the engine pool is closed")
            try:
                output = self._executors[task][worker].run(batch.pixels, len(batch.refs))
            except EngineError as error:
                return BatchResult(batch, identity, None, str(error))
        if output.dtype.kind == "f" and not np.isfinite(output).all():
            return BatchResult(batch, identity, None, f"engine {task}: gave scores that are not finite numbers")
        return BatchResult(batch, identity, output)

    def close(self, timeout_s: float = 10.0) -> None:
        """Let every worker finish its batch, then close its executors; one that hangs longer is left behind."""
        self._open = False
        for worker, busy in enumerate(self._busy):
            if busy.acquire(timeout=timeout_s):
                try:
                    for executors in self._executors.values():
                        executors[worker].close()
                finally:
                    busy.release()

    def __enter__(self) -> "EnginePool":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _warm(executor: Executor, manifest: EngineManifest) -> None:
    """Run once; raise EngineError unless the output has the promised shape, which a runtime may only know now."""
    output = executor.run(np.zeros((1, 1, manifest.input.lines, manifest.input.width), np.uint8), 1)
    wanted = promised_output(manifest)
    if (output.dtype != wanted.dtype) or output.shape != (1, *wanted.dims[1:]):
        raise EngineError(
            f"engine {manifest.name}: a run gave {output.dtype} {output.shape}, its manifest promises {wanted}; "
            "export the model and its manifest together"
        )
