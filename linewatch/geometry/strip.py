"""Between a frame's lines and columns and millimetres on the strip."""

from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np

from linewatch.contracts.frame import Frame
from linewatch.contracts.verdict import StripBox

Numbers = TypeVar("Numbers", float, np.ndarray)
"""One, or many at once."""


@dataclass(frozen=True, slots=True)
class StripScale:
    """Where one frame lies on the strip. Lines count from the frame's first; fractions are welcome."""

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
        """Millimetres from the coil's head to the beginning of a line."""
        return self.along_mm + line * self.mm_per_line

    def across(self, column: Numbers) -> Numbers:
        """Millimetres from the mill's datum to the left side of a column."""
        return self.across_offset_mm + column * self.mm_per_px

    def line(self, along_mm: Numbers) -> Numbers:
        """The inverse of `along`."""
        return (along_mm - self.along_mm) / self.mm_per_line

    def column(self, across_mm: Numbers) -> Numbers:
        """The inverse of `across`."""
        return (across_mm - self.across_offset_mm) / self.mm_per_px

    def box(self, left_px: float, right_px: float, first_line: float, stop_line: float) -> StripBox:
        """Columns [left_px, right_px) on lines [first_line, stop_line)."""
        return StripBox(
            across_mm=(self.across(left_px), self.across(right_px)),
            along_mm=(self.along(first_line), self.along(stop_line)),
        )
