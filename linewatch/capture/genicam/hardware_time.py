"""The camera's own clock, put on the host's: when a frame was taken, without the jitter of network and host.

A frame arrives late by a delay that varies and is never below a certain one. So the smallest difference between
arrival and the camera's time stamp, among those of the last seconds, is the offset between the two clocks, and the
shortest delay with it (the minimum filter of NTP, RFC 5905 section 10). It is followed over a window, since clocks
drift apart.
"""

from collections import deque
from typing import Final

BUCKET_NS: Final = 1_000_000_000
BUCKETS: Final = 8
"""The smallest difference of so many seconds holds: 100 ppm of drift make less than a millisecond in them."""
LATEST_NS: Final = 500_000_000
"""A frame that seems to have arrived later than this was stamped by a clock that was set, or stands."""


class HardwareTime:
    """Of one opened camera. Used by one thread."""

    def __init__(self) -> None:
        self._smallest: deque[tuple[int, int]] = deque(maxlen=BUCKETS)  # a second's number, and its difference
        self._stamp_ns = self._taken_ns = -1

    def taken_ns(self, stamp_ns: int, arrived_ns: int) -> int:
        """Return when a frame was taken, by the host's clock and never after its arrival.

        stamp_ns: by the camera's clock; 0 or less: it gives none, and the time of arrival holds. So it does while the
        camera's clock steps back or stands, and when it is set.
        """
        if stamp_ns <= 0:
            return arrived_ns
        if stamp_ns <= self._stamp_ns:
            self._smallest.clear()
        self._stamp_ns = stamp_ns
        difference_ns, second = arrived_ns - stamp_ns, arrived_ns // BUCKET_NS
        while self._smallest and self._smallest[0][0] <= second - BUCKETS:
            self._smallest.popleft()
        if self._smallest and difference_ns - min(one for _, one in self._smallest) > LATEST_NS:
            self._smallest.clear()
        if self._smallest and self._smallest[-1][0] == second:
            difference_ns = min(difference_ns, self._smallest.pop()[1])
        self._smallest.append((second, difference_ns))
        taken_ns = stamp_ns + min(one for _, one in self._smallest)
        self._taken_ns = min(arrived_ns, max(taken_ns, self._taken_ns + 1))
        return self._taken_ns
