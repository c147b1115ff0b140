"""Convert between the lines and columns of a frame and millimetres on the strip."""

from dataclasses import dataclass
from typing import Self

from linewatch.contracts.across import AcrossMap, Numbers
from linewatch.contracts.frame import Frame
from linewatch.contracts.verdict import StripBox


@dataclass(frozen=True, slots=True)
class StripScale:
    """The position of one frame on the strip. Lines count from the frame's first line and may be fractions.

    columns: where its columns lie across the strip.
    """

    along_mm: float
    mm_per_line: float
    columns: AcrossMap

    @classmethod
    def of(cls, frame: Frame) -> Self:
        return cls(frame.along_mm, frame.mm_per_line, frame.columns)

    def along(self, line: Numbers) -> Numbers:
        """Return the millimetres from the coil's head to the beginning of a line."""
        return self.along_mm + line * self.mm_per_line

    def across(self, column: Numbers) -> Numbers:
        """Return the millimetres from the mill's datum to the left side of a column."""
        return self.columns.mm(column)

    def line(self, along_mm: Numbers) -> Numbers:
        """Return the line at a place along the strip: the inverse of `along`."""
        return (along_mm - self.along_mm) / self.mm_per_line

    def column(self, across_mm: Numbers) -> Numbers:
        """Return the column at a place across the strip: the inverse of `across`."""
        return self.columns.column(across_mm)

    def mm2_per_px(self, left_px: Numbers, right_px: Numbers) -> Numbers:
        """Return the mean area of a pixel in columns [left_px, right_px)."""
        return self.mm_per_line * self.columns.mm_per_px_over(left_px, right_px)

    def box(self, left_px: float, right_px: float, first_line: float, stop_line: float) -> StripBox:
        """Return the box of columns [left_px, right_px) on lines [first_line, stop_line)."""
        return StripBox(
            across_mm=(self.across(left_px), self.across(right_px)),
            along_mm=(self.along(first_line), self.along(stop_line)),
        )
