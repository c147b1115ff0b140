"""Collects tiles into batches; a batch is complete when it is full or its oldest tile has waited long enough."""

from collections.abc import Sequence

import numpy as np

from linewatch.contracts.manifest import Task
from linewatch.contracts.tile import Batch, TileRef

NS_PER_MS = 1_000_000


class Batcher:
    """A state machine without a clock: every call is given the time. Not thread-safe.

    A batch's shape is the smallest rung of `ladder` that holds its tiles. `recycle` returns a batch's buffer for reuse,
    so that no pixels are allocated in a steady state.

    masks: each row's output is uint8 and as large as its pixels; an output buffer is allocated beside them.
    """

    def __init__(
        self,
        task: Task,
        lines: int,
        width: int,
        ladder: Sequence[int],
        deadline_ms: float,
        generation: int = 0,
        *,
        masks: bool = False,
    ) -> None:
        self._task, self._generation = task, generation
        self._ladder = tuple(ladder)
        self._shape = (ladder[-1], 1, lines, width)
        self._deadline_ns = round(deadline_ms * NS_PER_MS)
        self._masks = masks
        self._free: list[np.ndarray] = []
        self._buffer = self._new()
        self._refs: list[TileRef] = []
        self._oldest_ns = 0

    @property
    def next_deadline_ns(self) -> int | None:
        """When `due` will return a batch; None while no tile waits."""
        return self._oldest_ns + self._deadline_ns if self._refs else None

    def add(self, ref: TileRef, pixels: np.ndarray, now_ns: int) -> tuple[Batch, ...]:
        """Copy in a tile's pixels, uint8 (lines, width); return the batch that it filled, or nothing."""
        if not self._refs:
            self._oldest_ns = now_ns
        self._buffer[0, len(self._refs), 0] = pixels
        self._refs.append(ref)
        return self.flush() if len(self._refs) == self._ladder[-1] else ()

    def due(self, now_ns: int) -> tuple[Batch, ...]:
        """Return the waiting tiles as a batch if the oldest has reached its deadline."""
        deadline_ns = self.next_deadline_ns
        return self.flush() if deadline_ns is not None and now_ns >= deadline_ns else ()

    def flush(self) -> tuple[Batch, ...]:
        """Return the waiting tiles as a batch, however few; nothing when none waits."""
        if not self._refs:
            return ()
        rung = next(rung for rung in self._ladder if rung >= len(self._refs))
        refs, pixels = tuple(self._refs), self._buffer[0, :rung]
        out = self._buffer[1, :rung, 0] if self._masks else None
        self._buffer = self._free.pop() if self._free else self._new()
        self._refs = []
        return (Batch(self._task, refs, pixels, self._generation, out),)

    def recycle(self, batch: Batch) -> None:
        """Take back the buffers of a batch that has run and whose output was read."""
        assert batch.pixels.base is not None
        self._free.append(batch.pixels.base)

    def _new(self) -> np.ndarray:
        return np.empty((2 if self._masks else 1, *self._shape), np.uint8)
