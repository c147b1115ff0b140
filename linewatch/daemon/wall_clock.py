"""The wall clock of the host: whether it was set, and whether something keeps it right."""

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import structlog

log = structlog.get_logger()

LEAST_STEP_NS: Final = 1_000_000_000
"""A smaller difference is that of a clock which is slewed, or of two readings."""

_STA_UNSYNC: Final = 0x40  # of <sys/timex.h>
_STATUS_AT: Final = 5  # of struct timex, in C longs: the int behind modes, offset, freq, maxerror and esterror
_TIMEX_LONGS: Final = 64  # more than the structure takes
_AT_ONCE_NS: Final = 10_000_000
_TIMESYNCD: Final = Path("/run/systemd/timesync/synchronized")


class WallTime(NamedTuple):
    """now_ns: Unix time. step_ns: by how much the clock was set since it was read before; 0: it was not."""

    now_ns: int
    step_ns: int


class WallClock:
    """Notices when the wall clock is set, by a clock that never is. Used by one thread; others may read `last_step_ns`.

    last_step_ns: by how much it was set last, forward above 0; 0: it was not.
    """

    def __init__(
        self,
        unix_ns: Callable[[], int] = time.time_ns,
        steady_ns: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME),
    ) -> None:
        """steady_ns: a clock that also counts while the host is suspended."""
        self._unix_ns, self._steady_ns = unix_ns, steady_ns
        self._offset_ns = unix_ns() - steady_ns()
        self.last_step_ns = 0

    def read(self) -> WallTime:
        """Return the time, which is later by `step_ns` than the time since it was read before says."""
        began_ns = self._steady_ns()
        offset_ns = self._unix_ns() - began_ns
        step_ns = 0
        if self._steady_ns() - began_ns <= _AT_ONCE_NS:  # else the process stood between two readings
            moved_ns, self._offset_ns = offset_ns - self._offset_ns, offset_ns
            if abs(moved_ns) >= LEAST_STEP_NS:
                step_ns = self.last_step_ns = moved_ns
                log.warning("clock_stepped", seconds=round(step_ns / 1e9, 3))
        return WallTime(began_ns + self._offset_ns, step_ns)


def synchronised() -> bool | None:
    """Return whether the kernel counts the wall clock as synchronised (adjtimex(2)); None: it does not say.

    Under the shipped unit the kernel refuses the question; then the mark that systemd-timesyncd leaves tells.
    """
    timex = (ctypes.c_long * _TIMEX_LONGS)()
    try:
        answered = ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) >= 0
    except (AttributeError, OSError):  # not Linux
        answered = False
    if answered:
        return not timex[_STATUS_AT] & _STA_UNSYNC
    return True if _TIMESYNCD.exists() else None
