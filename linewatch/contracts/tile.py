"""Tiles of a frame, and the batches that engines run."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """A rectangle of a frame in pixels: lines [y, y + lines), columns [x, x + width)."""

    x: int
    y: int
    width: int
    lines: int


@dataclass(frozen=True, slots=True)
class TileRef:
    """Which tile of which frame a batch row is."""

    ordinal: int  # of the frame
    index: int  # of the tile among the tiles that this engine sees of that frame
    tile: Tile


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Tiles for one call of one engine: number `generation` of those that were loaded for its task.

    `pixels`: uint8 (rung, 1, lines, width), C-contiguous, rung being a rung of the shape ladder; rows from `len(refs)`
    on are padding and their results are dropped. `out`: where the output is to go, (rung, ...), or None: a new array.
    """

    engine: str  # role: "screen" | "classify" | "segment"
    refs: tuple[TileRef, ...]
    pixels: np.ndarray
    generation: int = 0
    out: np.ndarray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BatchResult:
    """What came of one `Batch`.

    `output`: (len(batch.refs), ...) as the engine's task says, row i belongs to `batch.refs[i]`; None when `error`
    says why the engine failed. `identity`: of the engine that ran, or was to run. `took_ns`: on its worker.
    """

    batch: Batch
    identity: str
    output: np.ndarray | None
    error: str | None = None
    took_ns: int = 0
