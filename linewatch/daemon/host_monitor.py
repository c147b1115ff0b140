"""The state of the host, on which system alarms depend: disks, backend, silence of the camera."""

import shutil
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from linewatch.contracts.alarm import HostState
from linewatch.contracts.ports import Clock
from linewatch.contracts.restart import StripGap
from linewatch.daemon.wall_clock import WallClock
from linewatch.wire.schema import BackendState, BackendStatus

THREAD = "disk"
EVERY_NS = 250_000_000
_STALE_NS = 5_000_000_000  # a measurement of disks that is older is not used


@dataclass(frozen=True, slots=True, order=True)
class DiskSpace:
    """The room on one disk."""

    free_mb: float
    name: str
    size_mb: float


class DiskMonitor:
    """Measures disks on a thread of its own, so that a network disk that hangs stops no decision."""

    def __init__(self, measure: Callable[[], tuple[DiskSpace, ...]], clock: Clock) -> None:
        """measure: may take any time."""
        self._measure, self._clock = measure, clock
        self._newest: tuple[int, tuple[DiskSpace, ...]] = (clock.now_ns(), ())
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, name=THREAD, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()  # not joined: it may hang

    def disks(self) -> tuple[DiskSpace, ...]:
        """Return the last measurement; empty when that is too old."""
        at_ns, found = self._newest
        return found if self._clock.now_ns() - at_ns < _STALE_NS else ()

    def fullest(self) -> tuple[float | None, str]:
        """Return free megabytes and name of the disk with the least room; None, "" when not known."""
        fullest = min(self.disks(), default=None)
        return (None, "") if fullest is None else (fullest.free_mb, fullest.name)

    def _watch(self) -> None:
        while True:
            self._newest = (self._clock.now_ns(), self._measure())
            if self._closed.wait(EVERY_NS / 1e9):
                return


class HostMonitor:
    """Used by the decision's thread. In replay it reads only the time."""

    def __init__(
        self,
        clock: Clock,
        fullest_disk: Callable[[], tuple[float | None, str]],
        silent_s: Callable[[], float],
        backend: Callable[[], BackendStatus],
        recipe_trouble: Callable[[], str | None],
        withdrawn: Callable[[], str | None],
        journal_lost: Callable[[], str | None],
        gap: Callable[[], StripGap | None],
        camera_away: Callable[[], str],
        wall_clock: WallClock,
        *,
        live: bool,
    ) -> None:
        """silent_s: seconds since the camera's last grab. recipe_trouble: why a recipe's engine does not run.
        withdrawn: why a promoted engine inspects no longer. journal_lost: why decisions are not on disk. gap: what
        passed unseen in a restart. camera_away: why the camera cannot be opened. None of the callables may block.
        """
        self._clock, self._fullest_disk, self._recipe_trouble = clock, fullest_disk, recipe_trouble
        self._silent_s, self._backend, self._withdrawn, self._live = silent_s, backend, withdrawn, live
        self._journal_lost = journal_lost
        self._next_ns = clock.now_ns()
        self._gap, self._gap_told, self._camera_away = gap, False, camera_away
        self._wall_clock = wall_clock

    def read(self) -> HostState | None:
        """Return the host's state; None when it was read a moment ago."""
        now_ns = self._clock.now_ns()
        untold = not self._gap_told and self._gap() is not None
        if now_ns < self._next_ns and not untold:
            return None
        self._next_ns = now_ns + EVERY_NS
        gap = self._told_once()
        if not self._live:
            return HostState(time.time_ns(), restart_gap=gap)
        now_unix_ns, step_ns = self._wall_clock.read()
        backend = self._backend()
        lost = backend.state is BackendState.LOST
        free_mb, disk = self._fullest_disk()
        return HostState(
            now_unix_ns,
            camera_away=self._camera_away(),
            camera_silent_s=self._silent_s(),
            disk_free_mb=free_mb,
            disk=disk,
            backend_lost=f"engines run on {backend.name}: {backend.text or 'the configured backend is lost'}"
            if lost
            else "",
            recipe_lacking=self._recipe_trouble() or "",
            engine_withdrawn=self._withdrawn() or "",
            journal_lost=self._journal_lost() or "",
            restart_gap=gap,
            clock_step_ns=step_ns,
        )

    def _told_once(self) -> str:
        """Return what passed unseen in a restart, the first time; afterwards, the alarm stands until acknowledged."""
        gap = None if self._gap_told else self._gap()
        self._gap_told = self._gap_told or gap is not None
        return gap.text if gap is not None and gap.matters else ""


def measure_disks(journal_dir: Path, folders: Iterable[Path] = ()) -> tuple[DiskSpace, ...]:
    """Measure the journal's disk and those of the folders; one that cannot be measured is left out."""
    disks = {"the journal's disk": journal_dir, **{f"the disk of {folder}": folder for folder in folders}}
    return tuple(space for name, folder in disks.items() if (space := _space(name, folder)) is not None)


def _space(name: str, folder: Path) -> DiskSpace | None:
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return DiskSpace(usage.free / (1 << 20), name, usage.total / (1 << 20))
