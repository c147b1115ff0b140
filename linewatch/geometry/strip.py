"""Convert between the lines and columns of a frame and millimetres on the strip."""

from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np

from linewatch.contracts.frame import Frame
from linewatch.contracts.verdict import StripBox

Numbers = TypeVar("Numbers", float, np.ndarray)
"""A float, or an array of them."""


@dataclass(frozen=True, slots=True)
class StripScale:
    """The position of one frame on the strip. Lines count from the frame's first line and may be fractions."""

    along_mm: float
    mm_per_line: float
    across_offset_mm: float
    mm_per_px: float

    @classmethod
    def of(cls, frame: Frame, across_offset_mm: float) -> Self:
        return cls(frame.along_mm, frame.mm_per_line, across_offset_mm, frame.mm_per_px)

    @property
    def mm2_per_px(self) -> float:
        return self.mm_per_line * self.mm_per_px

    def along(self, line: Numbers) -> Numbers:
        """Return the millimetres from the coil's head to the beginning of a line."""
        return self.along_mm + line * self.mm_per_line

    def across(self, column: Numbers) -> Numbers:
        """Return the millimetres from the mill's datum to the left side of a column."""
        return self.across_offset_mm + column * self.mm_per_px

    def line(self, along_mm: Numbers) -> Numbers:
        """Return the line at a place along the strip: the inverse of `along`."""
        return (along_mm - self.along_mm) / self.mm_per_line

    def column(self, across_mm: Numbers) -> Numbers:
        """Return the column at a place across the strip: the inverse of `across`."""
        return (across_mm - self.across_offset_mm) / self.mm_per_px

    def box(self, left_px: float, right_px: float, first_line: float, stop_line: float) -> StripBox:
        """Return the box of columns [left_px, right_px) on lines [first_line, stop_line)."""
        return StripBox(
            across_mm=(self.across(left_px), self.across(right_px)),
            along_mm=(self.along(first_line), self.along(stop_line)),
        )
