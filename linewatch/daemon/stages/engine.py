"""The engine stage: runs batches, and says once when an engine begins to fail and once when it is well again."""

import threading
from collections.abc import Callable

import structlog

from linewatch.contracts.tile import Batch, BatchResult
from linewatch.inference.pool import EnginePool

log = structlog.get_logger()

LOST_AFTER = 5
"""Failures of one engine in a row: a device that is gone fails every time, a bad moment once or twice."""


class Running:
    """`pool.run` for the runner; used by all workers at once."""

    def __init__(self, pool: EnginePool, lose: Callable[[Batch, str], None] = lambda batch, why: None) -> None:
        """lose: told once which engine failed time after time, by its batch, and why."""
        self._pool, self._lose = pool, lose
        self._failures: dict[tuple[str, int], int] = {}  # in a row, of (engine, generation)
        self._failing: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, worker: int, batch: Batch) -> BatchResult:
        """Run a batch as `worker`. Never raises for what an engine does wrong."""
        result = self._pool.run(worker, batch)
        if (result.error is None) is (batch.engine in self._failing):
            self._turn(batch.engine, result.error)
        if result.error is not None or self._failures:
            self._count(batch, result.error)
        return result

    def _count(self, batch: Batch, error: str | None) -> None:
        engine = (batch.engine, batch.generation)
        with self._lock:
            failures = 0 if error is None else self._failures.get(engine, 0) + 1
            self._failures[engine] = failures
            if not failures:
                del self._failures[engine]
        if failures == LOST_AFTER:
            self._lose(batch, str(error))

    def _turn(self, engine: str, error: str | None) -> None:
        with self._lock:
            if error is not None and engine not in self._failing:
                self._failing.add(engine)
                log.error("engine_failing", engine=engine, error=error)
            elif error is None and engine in self._failing:
                self._failing.discard(engine)
                log.info("engine_well_again", engine=engine)
