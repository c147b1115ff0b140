"""The engine stage: runs batches, and says once when an engine begins to fail and once when it is well again."""

import threading

import structlog

from linewatch.contracts.tile import Batch, BatchResult
from linewatch.inference.pool import EnginePool

log = structlog.get_logger()


class Running:
    """`pool.run` for the runner; used by all workers at once."""

    def __init__(self, pool: EnginePool) -> None:
        self._pool = pool
        self._failing: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, worker: int, batch: Batch) -> BatchResult:
        """Run a batch as `worker`. Never raises for what an engine does wrong."""
        result = self._pool.run(worker, batch)
        if (result.error is None) is (batch.engine in self._failing):
            self._turn(batch.engine, result.error)
        return result

    def _turn(self, engine: str, error: str | None) -> None:
        with self._lock:
            if error is not None and engine not in self._failing:
                self._failing.add(engine)
                log.error("engine_failing", engine=engine, error=error)
            elif error is None and engine in self._failing:
                self._failing.discard(engine)
                log.info("engine_well_again", engine=engine)
