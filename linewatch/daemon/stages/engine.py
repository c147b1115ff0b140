"""The engine stage: workers run batches; the log says once when an engine begins to fail and once when it recovers."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty

import structlog

from linewatch.contracts.tile import Batch, BatchResult
from linewatch.daemon.stages.wiring import END, Wiring
from linewatch.inference.pool import EnginePool

log = structlog.get_logger()

LOST_AFTER = 5
"""Failures of one engine in a row until it counts as lost. A device that is gone fails always, another fault passes."""

RECOVERED_AFTER_S = 5.0
"""An engine that fails on some frames and not on others is one that fails: the log does not say so for each frame."""


class EngineStage:
    """Used by all workers at once."""

    def __init__(
        self, pool: EnginePool, lose: Callable[[Batch, str], None], failed: Callable[[Batch, str], None]
    ) -> None:
        """failed: called with a batch that an engine failed on, and the error. lose: the same, when that engine failed
        `LOST_AFTER` times in a row.
        """
        self._pool, self._lose, self._failed = pool, lose, failed
        self._failures: dict[tuple[str, int], int] = {}  # in a row, of (engine, generation)
        self._failing: dict[tuple[str, int], float] = {}  # since when an engine has not failed again
        self._lock = threading.Lock()

    def run(self, wiring: Wiring) -> None:
        """Run batches as one of the workers, on executors of its own."""
        (give,) = wiring.gives
        while not wiring.aborted:
            wiring.tick()
            with suppress(Empty):
                batch = wiring.take()
                if batch is END:
                    return
                give(self._run(wiring.worker, batch))

    def _run(self, worker: int, batch: Batch) -> BatchResult:
        """Run a batch; an engine's error is in the result, never raised."""
        result = self._pool.run(worker, batch)
        if result.error is not None or self._failing:
            self._log_change(batch, result.error)
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
        if error is not None:
            self._failed(batch, error)
        if failures == LOST_AFTER:
            self._lose(batch, str(error))

    def _log_change(self, batch: Batch, error: str | None) -> None:
        engine, now_s = (batch.engine, batch.generation), time.monotonic()
        with self._lock:
            failed_s = self._failing.get(engine)
            if error is not None:
                self._failing[engine] = now_s
            elif failed_s is not None and now_s - failed_s >= RECOVERED_AFTER_S:
                del self._failing[engine]
            else:
                return
        if error is None:
            log.info("engine_recovered", engine=batch.engine)
        elif failed_s is None:
            log.error("engine_failing", engine=batch.engine, error=error)
