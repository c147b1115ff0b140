"""Draws tiles that show what any engine has to answer to: steel with each drawn defect, noise and gradients."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from linewatch.config.line import LineSettings
from linewatch.simulation.strip import SimulatedStrip

_SEED = 7
_LENGTH_M, _DEFECTS_PER_M = 5.0, 6.0
_MOST_DEFECTS = 18
_GRAY_STEP = 16
"""Gray levels are multiples of this, so that a file of such tiles is small."""
_DARKEST, _BRIGHTEST = 32, 176
"""Of the gradients."""


@lru_cache(maxsize=8)
def drawn_tiles(lines: int, width: int) -> NDArray[np.uint8]:
    """Return about 20 tiles, uint8 (n, lines, width), read-only: the same at each call."""
    line = LineSettings()
    strip_width = max(line.width_px, width)
    strip = SimulatedStrip(
        _SEED,
        max(_LENGTH_M, lines * line.mm_per_line / 1000),
        _DEFECTS_PER_M,
        line.model_copy(update={"width_px": strip_width}),
    )
    tiles = []
    for defect in strip.truth("drawn").defects[:_MOST_DEFECTS]:
        along_mm, across_mm = sum(defect.box.along_mm) / 2, sum(defect.box.across_mm) / 2
        top = _clipped(along_mm / line.mm_per_line - lines / 2, strip.total_lines - lines)
        left = _clipped(across_mm / line.mm_per_px - width / 2, strip_width - width)
        tiles.append(strip.lines(top, lines)[:, left : left + width])
    tiles.append(np.random.default_rng(_SEED).integers(0, 256, (lines, width), np.uint8))
    tiles.append(np.broadcast_to(np.linspace(_DARKEST, _BRIGHTEST, width).astype(np.uint8), (lines, width)))
    tiles.append(np.broadcast_to(np.linspace(_DARKEST, _BRIGHTEST, lines).astype(np.uint8)[:, None], (lines, width)))
    drawn = np.stack(tiles) // _GRAY_STEP * _GRAY_STEP
    drawn.flags.writeable = False
    return drawn


def _clipped(first: float, most: int) -> int:
    return int(min(max(first, 0), most))
