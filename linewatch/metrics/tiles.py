"""The tiles of a strip frame as a screen is evaluated on them: where they lie, their scores and their truth.

A tile is *defective* when its mask holds at least one defect pixel, *clean* when it holds none and at least a quarter
of it is steel. A tile that is neither (off the strip) does not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TILE_PX = 256
TILE_STEP_PX = 224
STEEL_SHARE = 0.25
DARK = 12
"""A column whose median gray level is at or below this shows the dark beside the strip."""


def steel_columns(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return bool (width,): True where the column of `image` (lines, width) shows steel."""
    return np.median(image, axis=0) > DARK


def tile_starts(width: int) -> range:
    """Return the first column of every tile of a frame `width` px wide."""
    return range(0, width - TILE_PX + 1, TILE_STEP_PX)


def tile_scores(cells: NDArray[np.floating], cell_px: int, steel: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return (tiles,): the highest of the cells (rows, columns) that overlap each tile and touch the strip, or 0."""
    columns = np.where(steel.reshape(cells.shape[1], cell_px).any(1), cells.max(0), 0.0)
    return np.array([columns[x // cell_px : -(-(x + TILE_PX) // cell_px)].max() for x in tile_starts(len(steel))])


@dataclass(frozen=True)
class TileTruth:
    """The truth of a frame's tiles, one entry per tile."""

    defect_px: NDArray[np.int64]
    steel_share: NDArray[np.float64]

    @classmethod
    def of(cls, mask: NDArray[np.generic], steel: NDArray[np.bool_]) -> TileTruth:
        """From a defect mask (lines, width), nonzero on defects, and the columns that show steel."""
        starts = tile_starts(len(steel))
        return cls(
            np.array([np.count_nonzero(mask[:, x : x + TILE_PX]) for x in starts]),
            np.array([steel[x : x + TILE_PX].mean() for x in starts]),
        )

    @property
    def clean(self) -> NDArray[np.bool_]:
        return (self.defect_px == 0) & (self.steel_share >= STEEL_SHARE)
