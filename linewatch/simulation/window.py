"""The part of a wide rendered strip that one of several cameras sees."""

from typing import Protocol

import numpy as np

from linewatch.config.line import LineSettings
from linewatch.simulation.strip import SimulatedStrip


class SeenStrip(Protocol):
    """What a simulated camera needs of the strip below it."""

    @property
    def line(self) -> LineSettings: ...

    @property
    def total_lines(self) -> int: ...

    def lines(self, first_line: int, count: int) -> np.ndarray: ...


class StripWindow:
    """The columns from `left_px` of a strip, as wide as the line of the camera that sees them."""

    def __init__(self, strip: SimulatedStrip, line: LineSettings, left_px: int) -> None:
        self.line = line
        self.total_lines = strip.total_lines
        self._strip = strip
        self._columns = slice(left_px, left_px + line.width_px)

    def lines(self, first_line: int, count: int) -> np.ndarray:
        """Return gray levels, uint8 (count, line.width_px), in a new array."""
        return np.ascontiguousarray(self._strip.lines(first_line, count)[:, self._columns])
