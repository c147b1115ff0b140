"""Where the columns of a camera lie across the strip: the map that a camera's calibration measures."""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

Numbers = TypeVar("Numbers", float, np.ndarray)
"""A float, or an array of them."""


@dataclass(frozen=True)
class AcrossMap:
    """Columns of one camera as millimetres from the mill's datum. Columns are left sides and may be fractions.

    offset_mm: of column 0. mm_per_px: the mean over the whole width. distortion_px: what a lens adds to column c is
    (1 - t^2) (a0 + a1 t + a2 t^2 ...) pixels with t = 2 c / width_px - 1, so it is 0 at both ends of the camera line:
    a0 is a camera that looks at an angle, a1 the radial distortion of its lens. Without it the map is straight.
    """

    offset_mm: float
    mm_per_px: float
    width_px: int
    distortion_px: tuple[float, ...] = ()

    def mm(self, column: Numbers) -> Numbers:
        """Return the millimetres from the mill's datum to the left side of a column."""
        if not self.distortion_px:
            return self.offset_mm + column * self.mm_per_px
        return self.offset_mm + (column + self.bend_px(column)) * self.mm_per_px

    def column(self, mm: Numbers) -> Numbers:
        """Return the column at a place: the inverse of `mm`, to a hundred-thousandth of a pixel."""
        straight = (mm - self.offset_mm) / self.mm_per_px
        if not self.distortion_px:
            return straight
        found = np.interp(straight, *self._straightened)
        for _ in range(2):  # Newton's method; beyond the camera's view the map goes on as at its end
            found = found - (found + self.bend_px(found) - straight) / (1.0 + self._slope(found))
        return found if isinstance(mm, np.ndarray) else float(found)

    def bend_px(self, column: Numbers) -> Numbers:
        """Return what the lens adds to a column, in pixels. Beyond the view it goes on in a straight line."""
        t = np.clip(2.0 * column / self.width_px - 1.0, -1.0, 1.0)
        inside = (1.0 - t * t) * np.polynomial.polynomial.polyval(t, self.distortion_px or (0.0,))
        beyond = column - np.clip(column, 0.0, self.width_px)
        bend = inside + beyond * self._slope(column)
        return bend if isinstance(column, np.ndarray) else float(bend)

    def width_mm(self, left: Numbers, right: Numbers) -> Numbers:
        """Return how many millimetres lie between two columns."""
        bend_px = self.bend_px(right) - self.bend_px(left) if self.distortion_px else 0.0
        return (right - left + bend_px) * self.mm_per_px

    def mm_per_px_over(self, left: Numbers, right: Numbers) -> Numbers:
        """Return the mean scale of columns [left, right), which must not be empty."""
        if not self.distortion_px:
            return left * 0.0 + self.mm_per_px
        return self.width_mm(left, right) / (right - left)

    def _slope(self, column: Numbers) -> Numbers:
        t = np.clip(2.0 * column / self.width_px - 1.0, -1.0, 1.0)
        return np.polynomial.polynomial.polyval(t, self._bend_slope)

    @cached_property
    def _bend_slope(self) -> np.ndarray:
        """Coefficients in t of the derivative of the bend by the column."""
        bend = np.polynomial.polynomial.polymul((1.0, 0.0, -1.0), self.distortion_px or (0.0,))
        return np.polynomial.polynomial.polyder(bend) * 2.0 / self.width_px

    @cached_property
    def _straightened(self) -> tuple[np.ndarray, np.ndarray]:
        """Columns of an undistorted camera, ascending, and this camera's columns at the same places."""
        columns = np.linspace(-self.width_px, 2.0 * self.width_px, 385)
        return columns + self.bend_px(columns), columns
