"""The machine's clock, and a camera that plays a recording at the pace at which it was taken."""

import threading
import time
from dataclasses import replace
from typing import Literal

from linewatch.contracts.frame import Grab
from linewatch.contracts.ports import Camera, CameraWrapper, Clock

_LONGEST_STEP_NS = 10_000_000_000


class MonotonicClock:
    """The machine's monotonic clock."""

    def now_ns(self) -> int:
        """Return monotonic nanoseconds."""
        return time.monotonic_ns()

    def wait_until_ns(self, deadline_ns: int, stop: threading.Event | None = None) -> bool:
        """Return True at or after `deadline_ns`, False at once when `stop` is set."""
        stop = stop or threading.Event()
        while not stop.is_set():
            left_ns = deadline_ns - time.monotonic_ns()
            if left_ns <= 0:
                return True
            stop.wait(left_ns / 1e9)
        return False


class PacedCamera(CameraWrapper):
    """Paces a camera that is not live: each grab's `captured_ns` becomes the moment at which the grab was due.

    Pace `line-rate` keeps the times between grabs, except for a pause of more than 10 s and for time that runs
    backwards, as between two recordings. Pace `max` gives grabs as fast as they are read. The camera is still not live:
    a late reader gets every grab, late.
    """

    def __init__(self, camera: Camera, clock: Clock, pace: Literal["max", "line-rate"]) -> None:
        super().__init__(camera)
        self.live = False
        self._clock = clock
        self._paced = pace == "line-rate"
        self._stopped = threading.Event()
        self._taken_ns: int | None = None
        self._due_ns = 0

    def read(self) -> Grab | None:
        grab = self._camera.read()
        if grab is None or self._stopped.is_set():
            return None
        if not self._paced:
            return replace(grab, captured_ns=self._clock.now_ns())
        if self._taken_ns is None:
            self._due_ns = self._clock.now_ns()
        elif 0 <= (step_ns := grab.captured_ns - self._taken_ns) <= _LONGEST_STEP_NS:
            self._due_ns += step_ns
        self._taken_ns = grab.captured_ns
        if not self._clock.wait_until_ns(self._due_ns, self._stopped):
            return None
        return replace(grab, captured_ns=self._due_ns)

    def stop(self) -> None:
        self._stopped.set()
        self._camera.stop()
