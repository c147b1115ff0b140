"""How long things took, as counts by bucket: cheap to add to, and read by whoever watches the service."""

import threading
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, NamedTuple

BOUNDS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Upper bounds of the buckets; what took longer falls into one more."""


class DurationCounts(NamedTuple):
    """counts: int (len(BOUNDS_S) + 1,), what fell into each bucket. sum_s: all of it together."""

    counts: Sequence[int]
    sum_s: float


class DurationHistogram:
    """Any thread may add, and any may read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0

    def add(self, duration_s: float) -> None:
        """Count one duration; one below 0, as clocks of two hosts may give, counts as 0."""
        duration_s = max(duration_s, 0.0)
        bucket = bisect_left(BOUNDS_S, duration_s)
        with self._lock:
            self._counts[bucket] += 1
            self._sum_s += duration_s

    def read(self) -> DurationCounts:
        """Return what was counted so far."""
        with self._lock:
            return DurationCounts(tuple(self._counts), self._sum_s)
