"""Length, width and direction of a mask, from moments that can be added over its parts."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True, slots=True)
class Spread:
    """The rectangle with the same second moments as a mask: exact for a straight bar at any angle.

    orientation_deg: angle of the long side to the rolling direction, in (-90, 90]: 0 along the strip, 90 across it,
    positive where *across* grows with *along*.
    """

    length_mm: float
    width_mm: float
    orientation_deg: float


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over a mask's pixels of 1, x, y, x^2, x y and y^2, with x = 2 column + 1 and y = 2 line + 1.

    The sums are integers of any size, so those of a mask equal the sums of its parts exactly, however it was cut.
    """

    count: int = 0
    x: int = 0
    y: int = 0
    xx: int = 0
    xy: int = 0
    yy: int = 0

    @classmethod
    def of(cls, runs: np.ndarray) -> Self:
        """Return the moments of runs, int32 (n, 3) as in `geometry.runs`, with lines below 2**20."""
        return cls.of_each(runs, np.array([0]))[0] if len(runs) else cls()

    @classmethod
    def of_each(cls, runs: np.ndarray, begins: np.ndarray) -> list[Self]:
        """Return the moments of several non-empty masks at once. begins: the index of each mask's first run."""
        line, start, stop = runs.astype(np.int64).T
        y, count = 2 * line + 1, stop - start
        x = stop * stop - start * start
        xx = (stop * (4 * stop * stop - 1) - start * (4 * start * start - 1)) // 3
        rows = np.array((count, x, count * y, xx, x * y, count * y * y))
        return [cls(*sums) for sums in np.add.reduceat(rows, begins, axis=1).T.tolist()]

    def moved(self, lines: int) -> "Moments":
        """Return the moments of the mask shifted by a number of lines."""
        by = 2 * lines
        return Moments(
            count=self.count,
            x=self.x,
            y=self.y + by * self.count,
            xx=self.xx,
            xy=self.xy + by * self.x,
            yy=self.yy + 2 * by * self.y + by * by * self.count,
        )

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(
            count=self.count + other.count,
            x=self.x + other.x,
            y=self.y + other.y,
            xx=self.xx + other.xx,
            xy=self.xy + other.xy,
            yy=self.yy + other.yy,
        )

    def spread(self, mm_per_px: float, mm_per_line: float) -> Spread:
        """Return the spread of a non-empty mask, in millimetres on the strip."""
        square = 4 * self.count * self.count  # in units of half steps
        # A pixel is an area, not a point: it adds a twelfth of its side squared.
        across = ((self.count * self.xx - self.x * self.x) / square + 1 / 12) * mm_per_px**2
        along = ((self.count * self.yy - self.y * self.y) / square + 1 / 12) * mm_per_line**2
        both = (self.count * self.xy - self.x * self.y) / square * mm_per_px * mm_per_line
        middle, apart = (along + across) / 2, math.hypot((along - across) / 2, both)
        angle = math.degrees(math.atan2(2 * both, along - across) / 2)
        return Spread(
            length_mm=math.sqrt(12 * (middle + apart)),
            width_mm=math.sqrt(12 * max(0.0, middle - apart)),
            orientation_deg=90.0 if angle <= -90 else angle,
        )
