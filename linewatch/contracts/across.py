"""Where the columns of a camera lie across the strip: the map that a camera's calibration measures."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeVar

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

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the table: equal maps that come from another process are one object, which has its table."""
        return _known, (self.offset_mm, self.mm_per_px, self.width_px, self.distortion_px)

    def mm(self, column: Numbers) -> Numbers:
        """Return the millimetres from the mill's datum to the left side of a column."""
        return self.offset_mm + (column + self.bend_px(column)) * self.mm_per_px

    def column(self, mm: Numbers) -> Numbers:
        """Return the column at a place: the inverse of `mm`."""
        straight = (mm - self.offset_mm) / self.mm_per_px
        if not self.distortion_px:
            return straight
        columns, bend_px = self._bends
        return _as(mm, np.interp(straight, columns + bend_px, columns))

    def bend_px(self, column: Numbers) -> Numbers:
        """Return what the lens adds to a column, in pixels. Beyond the view it goes on in a straight line."""
        if not self.distortion_px:
            return column * 0.0
        return _as(column, np.interp(column, *self._bends))

    def width_mm(self, left: Numbers, right: Numbers) -> Numbers:
        """Return how many millimetres lie between two columns."""
        return (right - left + self.bend_px(right) - self.bend_px(left)) * self.mm_per_px

    def mm_per_px_over(self, left: Numbers, right: Numbers) -> Numbers:
        """Return the mean scale of columns [left, right), which must not be empty."""
        if not self.distortion_px:
            return left * 0.0 + self.mm_per_px
        return self.width_mm(left, right) / (right - left)

    @cached_property
    def _bends(self) -> tuple[np.ndarray, np.ndarray]:
        """Columns, from a view before this one to a view behind it, and what the lens adds to each.

        Between whole columns a straight line is right to a ten-thousandth of a pixel, and its inverse is exact.
        """
        columns = np.arange(-self.width_px, 2.0 * self.width_px + 1.0)
        t = 2.0 * columns / self.width_px - 1.0
        polynomial = np.polynomial.Polynomial((1.0, 0.0, -1.0)) * np.polynomial.Polynomial(self.distortion_px)
        inside = t.clip(-1.0, 1.0)
        return columns, polynomial(inside) + (t - inside) * polynomial.deriv()(inside)


@lru_cache(maxsize=64)
def _known(offset_mm: float, mm_per_px: float, width_px: int, distortion_px: tuple[float, ...]) -> AcrossMap:
    return AcrossMap(offset_mm, mm_per_px, width_px, distortion_px)


def _as(like: Numbers, values: np.ndarray) -> Numbers:
    return values if isinstance(like, np.ndarray) else float(values)
