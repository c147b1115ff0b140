"""Averages over metres of strip, a level that survives changes of coil, and trends over hours."""

import math
from collections import deque

import numpy as np

EVERY_NS = 60_000_000_000
"""Time between two points of a trend."""
_POINTS = 240
_LEAST_POINTS = 15
_DISTINCT_STEP = 2.0  # standard errors of a step from coil to coil
_DISTINCT = 4.0  # standard errors of a slope; neighbouring points are not independent
_FARTHEST = 10.0  # times the hours that were observed


class MovingAverage:
    """An average over the last metres of strip, exponentially weighted; at first the plain mean."""

    def __init__(self, within_mm: float) -> None:
        self.value: float | None = None
        self.passed_mm = 0.0
        self._within_mm = within_mm

    def add(self, value: float, mm: float) -> None:
        """Count a value that stands for `mm` of strip."""
        self.passed_mm += mm
        share = max(1.0 - math.exp(-mm / self._within_mm), mm / self.passed_mm) if self.passed_mm else 1.0
        self.value = value if self.value is None else self.value + share * (value - self.value)


class CarriedLevel:
    """A positive level relative to its first value, followed over changes of coil.

    A change within a coil counts. A step from one coil to the next counts as the strip's and is left out, except that a
    step up that is distinct from noise cancels earlier losses, which may have been the strip's as well. So a change of
    product never overstates a loss; it may understate one.
    """

    def __init__(self, within_mm: float) -> None:
        self._within_mm = within_mm
        self._coil = ""
        self._carried = 0.0  # all are logarithms
        self._before: float | None = None  # the level at the end of the coil before
        self._base: float | None = None
        self._now, self._square = MovingAverage(within_mm), MovingAverage(within_mm)
        self._count, self._error = 0, 0.0  # the variance of the mean of the levels before

    @property
    def value(self) -> float | None:
        """The level, 1.0 where it began; None: no coil has run far enough yet."""
        if self._base is not None and self._now.value is not None:
            return math.exp(self._carried + self._now.value - self._base)
        return None if self._before is None else math.exp(self._carried)

    def add(self, level: float, mm: float, coil: str) -> None:
        """Count a level that stands for `mm` of strip of this coil."""
        if coil != self._coil:
            self._end()
            self._coil = coil
        logarithm = math.log(max(level, 1e-3))
        self._now.add(logarithm, mm)
        self._square.add(logarithm * logarithm, mm)
        self._count += self._base is None
        if self._base is None and self._now.passed_mm >= self._within_mm and self._now.value is not None:
            self._base = self._now.value
            error = self._error_of_mean()
            if self._before is not None:
                step = self._base - self._before
                if step > _DISTINCT_STEP * math.sqrt(error + self._error):
                    self._carried = min(0.0, self._carried + step)
            self._error = error

    def _error_of_mean(self) -> float:
        """Return the variance of the mean of the levels over the first metres of a coil."""
        mean, square = self._now.value or 0.0, self._square.value or 0.0
        return max(0.0, square - mean * mean) / max(1, self._count)

    def _end(self) -> None:
        if self._base is not None and self._now.value is not None:
            self._carried = min(0.0, self._carried + self._now.value - self._base)
            self._before = self._now.value
        self._base, self._count = None, 0
        self._now, self._square = MovingAverage(self._within_mm), MovingAverage(self._within_mm)


class Trend:
    """A figure over the last hours: one point a minute, 240 at most."""

    def __init__(self) -> None:
        self.per_hour: float | None = None
        self._points: deque[tuple[float, float]] = deque(maxlen=_POINTS)
        self._next_ns: int | None = None

    def add(self, value: float, now_ns: int) -> None:
        """Add a value, and fit `per_hour` anew once a minute; it is None while the slope is not distinct from noise."""
        if self._next_ns is not None and 0 <= self._next_ns - now_ns <= EVERY_NS:
            return
        self._next_ns = now_ns + EVERY_NS
        self._points.append((now_ns / 3.6e12, value))
        self.per_hour = None
        if len(self._points) < _LEAST_POINTS:
            return
        hours, values = np.array(self._points).T
        hours = hours - hours.mean()
        spread = float(hours @ hours)
        if spread <= 0:
            return
        slope = float(hours @ values) / spread
        rest = values - values.mean() - slope * hours
        error = math.sqrt(float(rest @ rest) / (len(values) - 2) / spread)
        if abs(slope) > _DISTINCT * error:
            self.per_hour = slope

    def reaches(self, value: float, limit: float) -> float | None:
        """Return in how many hours `value` reaches `limit` at this slope.

        None if it does not, or only in more than ten times the hours that were observed.
        """
        if self.per_hour is None or (limit - value) * self.per_hour <= 0:
            return None
        hours = (limit - value) / self.per_hour
        return hours if hours <= _FARTHEST * (self._points[-1][0] - self._points[0][0]) else None
