"""The parts of a status message that every process of stages tells alike."""

import time
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any, Final

from linewatch import __version__
from linewatch.contracts.bounds import made_printable
from linewatch.contracts.ports import Clock
from linewatch.contracts.verdict import Quality
from linewatch.daemon.host_monitor import DiskSpace
from linewatch.daemon.runner import Runner
from linewatch.daemon.stages.wiring import StageRow
from linewatch.daemon.totals import Totals
from linewatch.daemon.untold import UntoldDecisions
from linewatch.faults import Fault
from linewatch.journal.keeper import JournalKeeper
from linewatch.logs import newest_faults
from linewatch.wire.schema import DiskStatus, FaultStatus, JournalStatus, ServiceState, StageState, StageStatus
from linewatch.wire.snapshot import SnapshotTracker

_PACKAGES: Final = ("onnxruntime", "openvino", "tensorrt", "opencv-python-headless", "numpy", "pyzmq")
RATE_WINDOW_NS = 2_000_000_000
NS_PER_S = 1e9


class Rates:
    """Frames and tiles per second, and what each stage handles per second, in the newest whole window."""

    def __init__(self, clock: Clock, totals: Totals, runner: Runner) -> None:
        self._clock, self._totals, self._runner = clock, totals, runner
        self._since_ns = 0
        self._counts = dict.fromkeys(self._read(), 0)
        self._per_s = dict.fromkeys(self._counts, 0.0)

    def __call__(self) -> tuple[float, float]:
        """Return both now."""
        now_ns = self._clock.now_ns()
        if now_ns - self._since_ns >= RATE_WINDOW_NS:
            elapsed_s, counts = (now_ns - self._since_ns) / NS_PER_S, self._read()
            self._per_s = {name: (count - self._counts.get(name, 0)) / elapsed_s for name, count in counts.items()}
            self._since_ns, self._counts = now_ns, counts
        return self._per_s[None, "frames"], self._per_s[None, "tiles"]

    def of_stage(self, name: str) -> float:
        """Return what the stage handled per second when this object was last called."""
        return round(self._per_s.get((name, ""), 0.0), 3)

    def _read(self) -> dict[tuple[str | None, str], int]:
        counts: dict[tuple[str | None, str], int] = {
            (None, "frames"): self._totals.frames,
            (None, "tiles"): self._totals.tiles,
        }
        return counts | {(name, ""): handled.done for name, handled in self._runner.handled.items()}


def bare_facts(
    runner: Runner, totals: Totals, standing: SnapshotTracker, untold: UntoldDecisions, now_ns: int, started_ns: int
) -> dict[str, Any]:
    """Return the fields that no odd frame, engine or text can spoil, as those of a service that inspects nothing."""
    return {
        "state": ServiceState.FAILED if runner.failure else runner.state,
        "failure": None,
        "quality": Quality.MISSED,
        "uptime_s": max(0.0, (now_ns - started_ns) / NS_PER_S),
        "now_ns": now_ns,
        "now_unix_ns": time.time_ns(),
        "coil": None,
        "along_mm": None,
        "frames": totals.frames,
        "frames_per_s": 0.0,
        "tiles_per_s": 0.0,
        "lines_by_quality": {},
        "lines_by_cause": {},
        "defects": totals.opened,
        "alarms_standing": len(standing.standing_alarms),
        "ring_free": 0,
        "ring_slots": 0,
        "stages": (),
        "engines": (),
        "journal_id": standing.journal,
        "untold": untold.count,
    }


def of_totals(totals: Totals) -> dict[str, Any]:
    """Return the fields that tell of the strip since the start."""
    return {
        "coil": totals.coil or None,
        "along_mm": totals.along_mm if totals.coil else None,
        "frames": totals.frames,
        "lines_by_quality": {quality.value: _count(lines) for quality, lines in totals.lines.items()},
        "lines_by_cause": {cause: _count(lines) for cause, lines in totals.lines_by_cause.items()},
        "inspected_mm2": round(totals.area.inspected_mm2, 3),
        "degraded_mm2": round(totals.area.degraded_mm2, 3),
        "missed_mm2": round(totals.area.missed_mm2, 3),
        "uninspected_mm2_by_cause": {cause: round(mm2, 3) for cause, mm2 in dict(totals.uninspected_mm2).items()},
        "coverage": totals.coverage,
        "defects": totals.opened,
    }


def of_stages(
    runner: Runner, silent: tuple[str, ...], rates: Rates, unbounded: int, dropped: Mapping[StageRow[Any], int]
) -> tuple[StageStatus, ...]:
    """Return the state of each stage. unbounded: what bounds a queue that has no size of its own."""
    return tuple(
        StageStatus(
            name=name,
            state=StageState.LATE if name in silent else StageState.TICKING,
            tick_age_ms=max(0.0, age_s * 1000),
            deadline_ms=(row := runner.stages[name]).silence_limit_s * 1000,
            queued=runner.queued(row),
            queue_size=(row.takes and row.takes.size) or unbounded,
            done=runner.handled[name].done,
            dropped=dropped.get(row, 0),
            per_s=rates.of_stage(name),
            feeds=tuple(other for other, taker in runner.stages.items() if taker.takes in row.gives),
        )
        for name, age_s in runner.health.ages_s().items()
    )


def of_journal(journal: JournalKeeper | None) -> JournalStatus | None:
    """Return whether decisions reach the disk; None for a replay."""
    if journal is None:
        return None
    kept = journal.state
    return JournalStatus(
        state=kept.state,
        why=made_printable(kept.why)[:1000] if kept.why else None,
        held=kept.held,
        held_mb=round(kept.held_bytes / 1e6, 3),
        dropped=kept.dropped,
    )


def of_disks(disks: tuple[DiskSpace, ...], low_mb: float | None) -> tuple[DiskStatus, ...]:
    """Return the room on the watched disks. low_mb: where the alarm `disk-low` begins; None: it is off."""
    return tuple(
        DiskStatus(
            name=made_printable(one.name)[:200], free_mb=round(one.free_mb), size_mb=round(one.size_mb), low_mb=low_mb
        )
        for one in disks
    )


def of_faults() -> tuple[FaultStatus, ...]:
    """Return the newest warnings and errors of this process."""
    return _fault_statuses(newest_faults())


@lru_cache(maxsize=1)
def _fault_statuses(faults: tuple[Fault, ...]) -> tuple[FaultStatus, ...]:
    return tuple(
        FaultStatus(
            event=one.event[:100],
            error=one.error,
            count=one.count,
            first_unix_ns=one.first_unix_ns,
            last_unix_ns=one.last_unix_ns,
            over_unix_ns=one.over_unix_ns,
            text=one.text,
        )
        for one in faults
    )


@cache
def software() -> dict[str, str]:
    """Return the versions of linewatch, Python and the packages that the results depend on."""
    found = {"linewatch": __version__, "python": python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _count(lines: int) -> int:
    """Return a sum as a message holds it, whatever one odd frame has added to it."""
    return lines if 0 <= lines < 1 << 63 else 0
