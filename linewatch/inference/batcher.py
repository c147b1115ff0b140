"""Gathers tiles into batches: out when full, or when the oldest tile has waited long enough."""

from collections.abc import Sequence

import numpy as np

from linewatch.contracts.manifest import Task
from linewatch.contracts.tile import Batch, TileRef

NS_PER_MS = 1_000_000


class Batcher:
    """A state machine without a clock: every call says what time it is.

    Each batch goes to all `tasks`, which share its pixels. Its shape is the smallest rung of `ladder` that holds its
    tiles. Buffers are reused once `recycle` has seen the batch of every task, so a steady state allocates no pixels.
    Not thread-safe.
    """

    def __init__(
        self, tasks: tuple[Task, ...], lines: int, width: int, ladder: Sequence[int], deadline_ms: float
    ) -> None:
        self._tasks = tasks
        self._ladder = tuple(ladder)
        self._shape = (ladder[-1], 1, lines, width)
        self._deadline_ns = round(deadline_ms * NS_PER_MS)
        self._free: list[np.ndarray] = []
        self._lent: dict[int, int] = {}  # id of a buffer on its way -> tasks that still use it
        self._buffer = np.empty(self._shape, np.uint8)
        self._refs: list[TileRef] = []
        self._oldest_ns = 0

    @property
    def next_deadline_ns(self) -> int | None:
        """When `due` will give a batch; None while no tile waits."""
        return self._oldest_ns + self._deadline_ns if self._refs else None

    def add(self, ref: TileRef, pixels: np.ndarray, now_ns: int) -> tuple[Batch, ...]:
        """Copy a tile's pixels, uint8 (lines, width), in; the batch that it filled, once per task, or nothing."""
        if not self._refs:
            self._oldest_ns = now_ns
        self._buffer[len(self._refs), 0] = pixels
        self._refs.append(ref)
        return self.flush() if len(self._refs) == self._ladder[-1] else ()

    def due(self, now_ns: int) -> tuple[Batch, ...]:
        """The waiting tiles as a batch, once per task, if the oldest has waited for the deadline."""
        deadline_ns = self.next_deadline_ns
        return self.flush() if deadline_ns is not None and now_ns >= deadline_ns else ()

    def flush(self) -> tuple[Batch, ...]:
        """The waiting tiles as a batch, once per task, however few; nothing when none waits."""
        if not self._refs:
            return ()
        rung = next(rung for rung in self._ladder if rung >= len(self._refs))
        refs, pixels = tuple(self._refs), self._buffer[:rung]
        self._lent[id(self._buffer)] = len(self._tasks)
        self._buffer = self._free.pop() if self._free else np.empty(self._shape, np.uint8)
        self._refs = []
        return tuple(Batch(task, refs, pixels) for task in self._tasks)

    def recycle(self, batch: Batch) -> None:
        """Take back a batch that its engine is done with."""
        buffer = batch.pixels.base
        assert buffer is not None
        self._lent[id(buffer)] -= 1
        if not self._lent[id(buffer)]:
            del self._lent[id(buffer)]
            self._free.append(buffer)
