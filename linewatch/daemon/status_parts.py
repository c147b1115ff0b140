"""The parts of a status message that every process of stages tells alike."""

import time
from collections.abc import Mapping
from typing import Any

from linewatch.contracts.bounds import made_printable
from linewatch.contracts.ports import Clock
from linewatch.contracts.verdict import Quality
from linewatch.daemon.runner import Runner
from linewatch.daemon.stages.wiring import StageRow
from linewatch.daemon.totals import Totals
from linewatch.daemon.untold import UntoldDecisions
from linewatch.journal.keeper import JournalKeeper
from linewatch.wire.schema import JournalStatus, ServiceState, StageState, StageStatus
from linewatch.wire.snapshot import SnapshotTracker

RATE_WINDOW_NS = 2_000_000_000
NS_PER_S = 1e9


class Rates:
    """Frames and tiles per second in the newest whole window."""

    def __init__(self, clock: Clock, totals: Totals) -> None:
        self._clock, self._totals = clock, totals
        self._since_ns = self._frames = self._tiles = 0
        self._rates = (0.0, 0.0)

    def __call__(self) -> tuple[float, float]:
        """Return both now."""
        now_ns, totals = self._clock.now_ns(), self._totals
        if now_ns - self._since_ns >= RATE_WINDOW_NS:
            elapsed_s = (now_ns - self._since_ns) / NS_PER_S
            self._rates = (totals.frames - self._frames) / elapsed_s, (totals.tiles - self._tiles) / elapsed_s
            self._since_ns, self._frames, self._tiles = now_ns, totals.frames, totals.tiles
        return self._rates


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
    runner: Runner, silent: tuple[str, ...], done: int, unbounded: int, dropped: Mapping[StageRow[Any], int]
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
            done=done,
            dropped=dropped.get(row, 0),
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


def _count(lines: int) -> int:
    """Return a sum as a message holds it, whatever one odd frame has added to it."""
    return lines if 0 <= lines < 1 << 63 else 0
