"""What the host knows and no frame tells: handed to the decision between two frames."""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from linewatch.contracts.alarm import HostState
from linewatch.contracts.ports import Clock
from linewatch.wire.schema import BackendState, BackendStatus

LOOK_NS = 250_000_000


class Host:
    """Looks a few times a second. A recording is judged by itself: of its host only the time is told."""

    def __init__(
        self,
        clock: Clock,
        journal_dir: Path,
        silent_s: Callable[[], float],
        backend: Callable[[], BackendStatus],
        lacking: Callable[[], str | None],
        *,
        live: bool,
        disks: Sequence[Path] = (),
    ) -> None:
        """silent_s: since the camera's last grab. lacking: why a recipe's engine does not run. disks: folders whose
        disks are watched like the journal's.
        """
        self._lacking = lacking
        self._clock = clock
        self._disks = {"the journal's disk": journal_dir, **{f"the disk of {folder}": folder for folder in disks}}
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
        free_mb, disk = self._fullest()
        return HostState(
            time.time_ns(),
            camera_silent_s=self._silent_s(),
            disk_free_mb=free_mb,
            disk=disk,
            backend_lost=f"engines run on {backend.name}: {backend.text or 'the configured backend is lost'}"
            if lost
            else "",
            recipe_lacking=self._lacking() or "",
        )

    def _fullest(self) -> tuple[float | None, str]:
        free = {name: _free_mb(folder) for name, folder in self._disks.items()}
        known = [(free_mb, name) for name, free_mb in free.items() if free_mb is not None]
        return min(known, default=(None, ""))


def _free_mb(folder: Path) -> float | None:
    try:
        return shutil.disk_usage(folder).free / (1 << 20)
    except OSError:
        return None
