"""What the host knows and no frame tells: handed to the decision between two frames."""

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from linewatch.contracts.alarm import HostState
from linewatch.contracts.ports import Clock
from linewatch.wire.schema import BackendState, BackendStatus

LOOK_NS = 250_000_000
_STALE_NS = 5_000_000_000  # a disk that has not answered for so long: nobody knows


class FreeSpace:
    """Free space on a disk, measured on a thread of its own: a network disk that hangs stops no decision."""

    def __init__(self, measure_mb: Callable[[], float | None], clock: Clock) -> None:
        """measure_mb: may take any time; None when it cannot tell."""
        self._measure_mb, self._clock = measure_mb, clock
        self._newest: tuple[int, float | None] = (clock.now_ns(), None)
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, name="disk", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()  # not joined: it may hang

    def mb(self) -> float | None:
        """As measured last; None when that is not known, or long ago."""
        at_ns, free_mb = self._newest
        return free_mb if self._clock.now_ns() - at_ns < _STALE_NS else None

    def _watch(self) -> None:
        while True:
            self._newest = (self._clock.now_ns(), self._measure_mb())
            if self._closed.wait(LOOK_NS / 1e9):
                return


class Host:
    """Looks a few times a second. A recording is judged by itself: of its host only the time is told."""

    def __init__(
        self,
        clock: Clock,
        disk_free_mb: Callable[[], float | None],
        silent_s: Callable[[], float],
        backend: Callable[[], BackendStatus],
        *,
        live: bool,
    ) -> None:
        """None of these may block: the decision asks. silent_s: since the camera's last grab."""
        self._clock, self._disk_free_mb = clock, disk_free_mb
        self._silent_s, self._backend, self._live = silent_s, backend, live
        self._next_ns = clock.now_ns()

    def look(self) -> HostState | None:
        """How things stand; None when that was told a moment ago."""
        now_ns = self._clock.now_ns()
        if now_ns < self._next_ns:
            return None
        self._next_ns = now_ns + LOOK_NS
        if not self._live:
            return HostState(time.time_ns())
        backend = self._backend()
        lost = backend.state is BackendState.LOST
        return HostState(
            time.time_ns(),
            camera_silent_s=self._silent_s(),
            disk_free_mb=self._disk_free_mb(),
            backend_lost=f"engines run on {backend.name}: {backend.text or 'the configured backend is lost'}"
            if lost
            else "",
        )


def free_mb(folder: Path) -> float | None:
    """On the disk that holds a folder; None when it cannot be told."""
    try:
        return shutil.disk_usage(folder).free / (1 << 20)
    except OSError:
        return None
