"""The status of a strip process, in the message that every service sends, and what its cameras tell of themselves."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from linewatch.contracts.alarm import HostState
from linewatch.contracts.bounds import made_printable
from linewatch.contracts.ports import Clock
from linewatch.daemon.host_monitor import EVERY_NS, DiskMonitor
from linewatch.daemon.runner import Runner
from linewatch.daemon.status_parts import (
    NS_PER_S,
    Rates,
    bare_facts,
    of_disks,
    of_faults,
    of_journal,
    of_stages,
    of_totals,
    software,
)
from linewatch.daemon.totals import Totals
from linewatch.daemon.untold import UntoldDecisions
from linewatch.journal.keeper import JournalKeeper
from linewatch.strip.crops import StripCrops
from linewatch.strip.listeners import HeardCamera
from linewatch.wire.bridges import Bridges
from linewatch.wire.schema import CoilStatus, CropStatus, JoinedCameraState, StatusBody
from linewatch.wire.snapshot import SnapshotTracker

STARTING_S: Final = 10.0
"""A camera that has not been heard for so long after the start is told by an alarm."""


@dataclass(slots=True, eq=False)
class StripStatus:
    """Made by the outlet for each heartbeat. Reads what other threads write: figures may differ by a frame."""

    runner: Runner
    totals: Totals
    standing: SnapshotTracker
    clock: Clock
    listeners: Sequence[HeardCamera]
    coil: Callable[[], CoilStatus]
    journal: JournalKeeper
    untold: UntoldDecisions
    disks: DiskMonitor
    disk_low_mb: float | None  # where the alarm `disk-low` begins; None: it is off
    bridges: Bridges
    crops: StripCrops
    newest: StatusBody | None = None
    """What was told last; for threads that must not count a heartbeat."""
    _beats: int = 0
    _started_ns: int = field(init=False)
    _rates: Rates = field(init=False)

    def __post_init__(self) -> None:
        self._started_ns = self.clock.now_ns()
        self._rates = Rates(self.clock, self.totals, self.runner)

    def __call__(self) -> StatusBody:
        """Return the status now, and count a heartbeat if every stage ticks and every required camera inspects.

        Raises ValidationError when a figure is beyond what the message holds; then `bare` has the rest.
        """
        totals, asking = self.totals, self.standing.standing_alarms
        frames_per_s, tiles_per_s = self._rates()
        more = {
            **of_totals(totals),
            "quality": totals.quality,
            "frames_per_s": frames_per_s,
            "tiles_per_s": tiles_per_s,
            "alarms_unacknowledged": sum(not alarm.acked_state for alarm in asking),
            "stages": of_stages(self.runner, self.runner.health.silent(), self._rates, len(self.listeners), {}),
            "coil_status": self.coil(),
            "journal": of_journal(self.journal),
            "bridges": self.bridges.shown(),
            "cameras": tuple(listener.shown() for listener in self.listeners),
            "crops": self._crops(),
            "disks": of_disks(self.disks.disks(), self.disk_low_mb),
            "faults": of_faults(),
            "software": software(),
        }
        self.newest = self._body(self.ailment(), more, beats=True)
        return self.newest

    def bare(self) -> StatusBody:
        """Return the status without what depends on the strip and the cameras' texts; no heartbeat is counted."""
        return self._body(None, {}, beats=False)

    def ailment(self) -> str | None:
        """Return why the strip is not wholly inspected now, as far as the process knows; None: it is."""
        if silent := self.runner.health.silent():
            return f"silent: {', '.join(silent)}"
        if blind := self.totals.blind:
            return str(blind)
        return out_text([one for one in self.listeners if one.required]) or None

    def _crops(self) -> CropStatus | None:
        crops = self.crops
        if not crops.any_heard:
            return None
        return CropStatus(made=crops.made, waiting=crops.waiting, not_made=crops.not_made)

    def _body(self, ailment: str | None, more: dict[str, Any], *, beats: bool) -> StatusBody:
        failure = self.runner.failure
        healthy = ailment is None and failure is None and not self.runner.health.silent()
        self._beats += healthy and beats
        told: dict[str, Any] = {
            "heartbeat": self._beats,
            "healthy": healthy,
            "failure": made_printable(str(failure or ailment))[:1000] if failure or ailment else None,
        }
        now_ns = self.clock.now_ns()
        known = bare_facts(self.runner, self.totals, self.standing, self.untold, now_ns, self._started_ns)
        return StatusBody(**(known | told | more))


def out_text(listeners: Sequence[HeardCamera], waiting: bool = True) -> str:
    """Return which of these cameras do not inspect, and why; "": all do. waiting: so do those not heard yet."""
    told = []
    for listener in listeners:
        state, text = listener.state()
        if state is not JoinedCameraState.INSPECTING and (waiting or state is not JoinedCameraState.WAITING):
            told.append(f"{listener.name}: {text}")
    return "; ".join(told)


class HostView:
    """The state of the host and of the cameras, for the joining stage's thread."""

    def __init__(
        self,
        listeners: Sequence[HeardCamera],
        disks: DiskMonitor,
        journal: JournalKeeper,
        trouble: str,
        clock: Clock,
    ) -> None:
        """trouble: why the coil under way could not be gone on with at the start; "": it could."""
        self._listeners, self._disks, self._journal, self._clock = listeners, disks, journal, clock
        self._trouble = trouble
        self._next_ns = self._started_ns = clock.now_ns()

    def read(self) -> HostState | None:
        """Return the state; None when it was read a moment ago."""
        now_ns = self._clock.now_ns()
        if now_ns < self._next_ns:
            return None
        self._next_ns = now_ns + EVERY_NS
        free_mb, disk = self._disks.fullest()
        told = [trouble for trouble in (self._trouble, *(one.news() for one in self._listeners)) if trouble]
        self._trouble = ""
        started = now_ns - self._started_ns > STARTING_S * NS_PER_S
        return HostState(
            time.time_ns(),
            disk_free_mb=free_mb,
            disk=disk,
            journal_lost=self._journal.state.why or "",
            cameras_out=out_text(self._listeners, waiting=started),
            restart_gap="; ".join(told),
        )
