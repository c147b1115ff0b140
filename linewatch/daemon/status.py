"""The status message: the state of the service, read from the running stages."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from linewatch.capture.admission import AdmissionCounts
from linewatch.capture.ring import FrameRing
from linewatch.contracts.bounds import made_printable
from linewatch.contracts.frame import PositionSource
from linewatch.contracts.normal import Drift
from linewatch.contracts.ports import Clock
from linewatch.contracts.verdict import Quality
from linewatch.daemon.canary import Canary, canary_lost
from linewatch.daemon.crops import DefectCrops
from linewatch.daemon.recipes import Recipes
from linewatch.daemon.runner import Runner
from linewatch.daemon.sight import Blindness
from linewatch.daemon.stages.exchange import EngineExchange
from linewatch.daemon.topology import CAPTURE
from linewatch.daemon.totals import Totals
from linewatch.daemon.untold import UntoldDecisions
from linewatch.daemon.wall_clock import WallClock, synchronised
from linewatch.inference.workload import Workload
from linewatch.journal.keeper import JournalKeeper
from linewatch.wire.schema import (
    ClockStatus,
    CoilStatus,
    CropStatus,
    JournalStatus,
    NormalStatus,
    PositionStatus,
    ServiceState,
    StageState,
    StageStatus,
    StatusBody,
)
from linewatch.wire.snapshot import SnapshotTracker

RATE_WINDOW_NS = 2_000_000_000
NS_PER_S = 1e9


@dataclass(slots=True, eq=False)
class StatusReport:
    """Made by the outlet for each heartbeat. Reads what other threads write: figures may differ by a frame."""

    runner: Runner
    totals: Totals
    ring: FrameRing
    standing: SnapshotTracker
    exchange: EngineExchange
    workload: Workload | None
    clock: Clock
    admitted: AdmissionCounts
    position_source: PositionSource
    coil: Callable[[], CoilStatus]
    crops: DefectCrops | None
    untold: UntoldDecisions
    journal: JournalKeeper | None  # None: a replay
    canary: Canary | None
    recipes: Recipes
    wall_clock: WallClock
    started_ns: int
    _beats: int = 0
    _window: tuple[int, int, int] = (0, 0, 0)  # began at, with so many frames and tiles
    _rates: tuple[float, float] = (0.0, 0.0)  # frames and tiles per second in the window before

    def __call__(self) -> StatusBody:
        """Return the status now, and count a heartbeat if every stage ticks and the service is not blind.

        Raises ValidationError when a figure is beyond what the message holds; then `bare` has the rest.
        """
        now_ns = self.clock.now_ns()
        silent, blind = self.runner.health.silent(), self.totals.blind
        lost = self.canary.trouble if self.canary else None
        healthy = not silent and not blind and lost is None and self.runner.failure is None
        self._beats += healthy
        self._update_rates(now_ns)
        totals, asking = self.totals, self.standing.standing_alarms
        return StatusBody(
            heartbeat=self._beats,
            healthy=healthy,
            state=ServiceState.FAILED if self.runner.failure else self.runner.state,
            failure=str(self.runner.failure) if self.runner.failure else _ailment(silent, blind, lost),
            quality=totals.quality,
            uptime_s=(now_ns - self.started_ns) / NS_PER_S,
            now_ns=now_ns,
            now_unix_ns=time.time_ns(),
            coil=totals.coil or None,
            along_mm=totals.along_mm if totals.coil else None,
            frames=totals.frames,
            frames_per_s=self._rates[0],
            tiles_per_s=self._rates[1],
            lines_by_quality={quality.value: _count(lines) for quality, lines in totals.lines.items()},
            lines_by_cause={cause: _count(lines) for cause, lines in totals.lines_by_cause.items()},
            inspected_mm2=round(totals.area.inspected_mm2, 3),
            degraded_mm2=round(totals.area.degraded_mm2, 3),
            missed_mm2=round(totals.area.missed_mm2, 3),
            uninspected_mm2_by_cause={cause: round(mm2, 3) for cause, mm2 in dict(totals.uninspected_mm2).items()},
            coverage=totals.coverage,
            shed=self.workload.shed if self.workload else (),
            defects=totals.opened,
            alarms_standing=len(asking),
            alarms_unacknowledged=sum(not alarm.acked_state for alarm in asking),
            ring_free=self.ring.free,
            ring_slots=self.ring.slots,
            stages=self._stages(silent),
            engines=self.exchange.engines,
            backend=self.exchange.backend,
            beside=self.exchange.beside,
            position=PositionStatus(
                source=self.position_source,
                encoded=self.admitted.encoded,
                fault=self.admitted.position_fault,
                repeated_lines=self.admitted.repeated_lines,
            ),
            coil_status=self.coil(),
            crops=_crops(self.crops),
            journal_id=self.standing.journal,
            normal=_normal(self.recipes),
            untold=self.untold.count,
            journal=_journal(self.journal),
            clock=ClockStatus(synchronised=synchronised(), last_step_s=round(self.wall_clock.last_step_ns / 1e9, 3)),
        )

    def bare(self) -> StatusBody:
        """Return the status without what depends on the strip, the engines and their texts; no heartbeat is counted."""
        now_ns, silent = self.clock.now_ns(), self.runner.health.silent()
        return StatusBody(
            heartbeat=self._beats,
            healthy=not silent and self.runner.failure is None and not (self.canary and self.canary.trouble),
            state=ServiceState.FAILED if self.runner.failure else self.runner.state,
            failure=None,
            quality=Quality.MISSED,
            uptime_s=max(0.0, (now_ns - self.started_ns) / NS_PER_S),
            now_ns=now_ns,
            now_unix_ns=time.time_ns(),
            coil=None,
            along_mm=None,
            frames=self.totals.frames,
            frames_per_s=0.0,
            tiles_per_s=0.0,
            lines_by_quality={},
            lines_by_cause={},
            defects=self.totals.opened,
            alarms_standing=len(self.standing.standing_alarms),
            ring_free=self.ring.free,
            ring_slots=self.ring.slots,
            stages=(),
            engines=(),
            journal_id=self.standing.journal,
            untold=self.untold.count,
        )

    def _update_rates(self, now_ns: int) -> None:
        since_ns, frames, tiles = self._window
        if now_ns - since_ns >= RATE_WINDOW_NS:
            elapsed_s = (now_ns - since_ns) / NS_PER_S
            self._rates = ((self.totals.frames - frames) / elapsed_s, (self.totals.tiles - tiles) / elapsed_s)
            self._window = (now_ns, self.totals.frames, self.totals.tiles)

    def _stages(self, silent: tuple[str, ...]) -> tuple[StageStatus, ...]:
        return tuple(
            StageStatus(
                name=name,
                state=StageState.LATE if name in silent else StageState.TICKING,
                tick_age_ms=max(0.0, age_s * 1000),
                deadline_ms=(row := self.runner.stages[name]).silence_limit_s * 1000,
                queued=self.runner.queued(row),
                queue_size=(row.takes and row.takes.size) or self.ring.slots,
                done=self.totals.frames,
                dropped=self.totals.frames_overrun if row is CAPTURE else 0,  # no other stage drops
            )
            for name, age_s in self.runner.health.ages_s().items()
        )


def _count(lines: int) -> int:
    """Return a sum as a message holds it, whatever one odd frame has added to it."""
    return lines if 0 <= lines < 1 << 63 else 0


def _journal(journal: JournalKeeper | None) -> JournalStatus | None:
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


def _crops(crops: DefectCrops | None) -> CropStatus | None:
    return CropStatus(made=crops.made, waiting=crops.waiting, not_made=crops.not_made) if crops else None


def _normal(recipes: Recipes) -> NormalStatus | None:
    model = recipes.files.normal
    if model is None:
        return None
    drift = Drift.of(model)
    return NormalStatus(
        identity=model.identity,
        in_use=recipes.newest.normal is not None,
        learned_unix_ns=model.learned[-1].learned_unix_ns,
        m2=sum(one.m2 for one in model.learned),
        false_per_m2=drift.still,
        trend=drift.trend,
    )


def _ailment(silent: tuple[str, ...], blind: Blindness | None, lost: str | None) -> str | None:
    if silent:
        return f"silent: {', '.join(silent)}"
    if blind:
        return str(blind)
    return canary_lost(lost) if lost else None
