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


@dataclass(frozen=True, slots=True)
class Batch:
    """Tiles for one call of one engine.

    `pixels`: uint8 (rung, 1, lines, width), C-contiguous, rung being a rung of the shape ladder; rows from `len(refs)`
    on are padding and their results are dropped.
    """

    engine: str  # role: "screen" | "classify" | "segment"
    refs: tuple[TileRef, ...]
    pixels: np.ndarray
