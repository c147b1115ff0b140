"""Tiles of a frame, and the batches of tiles that engines run on."""

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
    """The tile and frame of one batch row."""

    ordinal: int  # number of the frame
    index: int  # of the tile among the tiles that this engine sees of that frame
    tile: Tile


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Tiles for one call of one engine, made by the batcher.

    engine: its task. generation: counts the engines loaded for that task. pixels: uint8 (rung, 1, lines, width),
    C-contiguous, rung being a rung of the shape ladder; rows from `len(refs)` on are padding and their results are
    dropped. out: array (rung, ...) for the output; None: a new array.
    """

    engine: str  # its task
    refs: tuple[TileRef, ...]
    pixels: np.ndarray
    generation: int = 0
    out: np.ndarray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BatchResult:
    """The result of one `Batch`, made by an engine's worker.

    output: (len(batch.refs), ...) by the engine's task, row i belonging to `batch.refs[i]`; None when the engine
    failed, and `error` says why. identity: of the engine that ran or should have run. took_ns: time on its worker.
    """

    batch: Batch
    identity: str
    output: np.ndarray | None
    error: str | None = None
    took_ns: int = 0
