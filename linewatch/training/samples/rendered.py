"""Rendered strip for training and evaluation: every other strip crowded with defects, the rest nearly clean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from linewatch.config.line import LineSettings
from linewatch.simulation.strip import SimulatedStrip

_FRAMES_EACH = 4


def rendered_strip(seeds: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield seed, image and mask of four frames per seed, uint8 (lines, width) each."""
    line = LineSettings()
    lines = _FRAMES_EACH * line.frame_lines
    for seed in seeds:
        strip = SimulatedStrip(seed, lines * line.mm_per_line / 1000, 8.0 if seed % 2 else 0.5, line)
        for first in range(0, lines, line.frame_lines):
            yield seed, strip.lines(first, line.frame_lines), strip.mask(first, line.frame_lines)
