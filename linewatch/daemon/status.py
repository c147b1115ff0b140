"""The status message: the state of the service, read from the running stages."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from linewatch.capture.admission import AdmissionCounts
from linewatch.capture.calibrated import CalibrationInForce
from linewatch.capture.lasting import LastingCamera, camera_trouble
from linewatch.capture.picture.meter import PictureMeter
from linewatch.capture.ring import FrameRing
from linewatch.contracts.bounds import made_printable
from linewatch.contracts.frame import PositionSource
from linewatch.contracts.normal import Drift
from linewatch.contracts.ports import Camera, Clock
from linewatch.contracts.verdict import Quality
from linewatch.daemon.canary import Canary, canary_lost
from linewatch.daemon.crops import DefectCrops
from linewatch.daemon.host_monitor import DiskSpace
from linewatch.daemon.recipes import Recipes
from linewatch.daemon.runner import Runner
from linewatch.daemon.sight import Blindness
from linewatch.daemon.stages.exchange import EngineExchange
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
from linewatch.daemon.topology import CAPTURE
from linewatch.daemon.totals import Totals
from linewatch.daemon.untold import UntoldDecisions
from linewatch.daemon.wall_clock import WallClock, synchronised
from linewatch.inference.workload import Workload
from linewatch.journal.keeper import JournalKeeper
from linewatch.wire.bridges import Bridges
from linewatch.wire.schema import (
    CalibrationStatus,
    CameraStatus,
    ClockStatus,
    CoilStatus,
    CropStatus,
    NormalStatus,
    PictureReadingStatus,
    PictureStatus,
    PositionStatus,
    ServiceState,
    StatusBody,
)
from linewatch.wire.snapshot import SnapshotTracker


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
    picture: PictureMeter
    calibrated: CalibrationInForce
    camera: Camera
    wall_clock: WallClock
    deadline_ms: float
    disks: Callable[[], tuple[DiskSpace, ...]]
    disk_low_mb: float | None  # where the alarm `disk-low` begins; None: it is off
    bridges: Bridges
    started_ns: int
    newest: StatusBody | None = None
    """What was told last; for threads that must not count a heartbeat."""
    _beats: int = 0
    rates: Rates = field(init=False)

    def __post_init__(self) -> None:
        self.rates = Rates(self.clock, self.totals, self.runner)

    def __call__(self) -> StatusBody:
        """Return the status now, and count a heartbeat if every stage ticks, the camera is there and the service is not
        blind.

        Raises ValidationError when a figure is beyond what the message holds; then `bare` has the rest.
        """
        now_ns = self.clock.now_ns()
        silent, blind = self.runner.health.silent(), self.totals.blind
        lost = self.canary.trouble if self.canary else None
        away = camera_trouble(self.camera)
        healthy = not silent and not blind and lost is None and not away and self.runner.failure is None
        self._beats += healthy
        frames_per_s, tiles_per_s = self.rates()
        totals, asking = self.totals, self.standing.standing_alarms
        self.newest = StatusBody(
            heartbeat=self._beats,
            healthy=healthy,
            state=ServiceState.FAILED if self.runner.failure else self.runner.state,
            failure=str(self.runner.failure) if self.runner.failure else _ailment(silent, away, blind, lost),
            quality=Quality.MISSED if away else totals.quality,
            uptime_s=(now_ns - self.started_ns) / NS_PER_S,
            now_ns=now_ns,
            now_unix_ns=time.time_ns(),
            frames_per_s=frames_per_s,
            tiles_per_s=tiles_per_s,
            shed=self.workload.shed if self.workload else (),
            alarms_standing=len(asking),
            alarms_unacknowledged=sum(not alarm.acked_state for alarm in asking),
            ring_free=self.ring.free,
            ring_slots=self.ring.slots,
            stages=of_stages(
                self.runner,
                silent,
                self.rates,
                self.ring.slots,
                {CAPTURE: totals.frames_overrun},  # no other stage drops
            ),
            engines=self.exchange.engines,
            backend=self.exchange.backend,
            beside=self.exchange.beside,
            camera_status=_camera(self.camera, now_ns),
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
            journal=of_journal(self.journal),
            picture=_picture(self.picture),
            calibration=_calibration(self.calibrated),
            deadline_ms=self.deadline_ms if self.workload else None,
            disks=of_disks(self.disks(), self.disk_low_mb),
            faults=of_faults(),
            software=software(),
            bridges=self.bridges.shown(),
            clock=ClockStatus(synchronised=synchronised(), last_step_s=round(self.wall_clock.last_step_ns / 1e9, 3)),
            **of_totals(totals),
        )
        return self.newest

    def bare(self) -> StatusBody:
        """Return the status without what depends on the strip, the engines and their texts; no heartbeat is counted."""
        trouble = self.runner.health.silent() or self.runner.failure or (self.canary and self.canary.trouble)
        here: dict[str, Any] = {
            "heartbeat": self._beats,
            "healthy": not trouble and not camera_trouble(self.camera),
            "ring_free": self.ring.free,
            "ring_slots": self.ring.slots,
        }
        now_ns = self.clock.now_ns()
        known = bare_facts(self.runner, self.totals, self.standing, self.untold, now_ns, self.started_ns)
        return StatusBody(**(known | here))


def _picture(meter: PictureMeter) -> PictureStatus | None:
    health = meter.health
    if health is None:
        return None
    return PictureStatus(
        reference=health.reference,
        measured=health.measured,
        strip_m=round(health.strip_mm / 1000, 3),
        readings=tuple(
            PictureReadingStatus(
                quantity=one.quantity,
                value=_rounded(one.value),
                reference=_rounded(one.reference),
                limit=one.limit,
                high=one.high,
                bad=one.bad(),
                per_hour=_rounded(one.per_hour),
                limit_in_h=_rounded(one.limit_in_h),
                place=one.place or None,
            )
            for one in health.readings
        ),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _calibration(calibrated: CalibrationInForce) -> CalibrationStatus | None:
    calibration, trouble, refused = calibrated.calibration, calibrated.trouble, calibrated.refused
    if calibration is None and trouble is None and refused is None and not calibrated.following:
        return None
    parts = {} if calibration is None else calibration.parts
    return CalibrationStatus(
        serial=made_printable(calibrated.serial),
        identity=calibrated.identity,
        made_unix_ns={name: round(part.made.timestamp() * NS_PER_S) for name, part in parts.items()},
        trouble=made_printable(trouble)[:1000] if trouble else None,
        following=calibrated.following,
        refused=made_printable(refused)[:1000] if refused else None,
    )


def _camera(camera: Camera, now_ns: int) -> CameraStatus:
    if not isinstance(camera, LastingCamera):
        return CameraStatus(serial=made_printable(camera.serial))
    life = camera.life
    return CameraStatus(
        serial=camera.serial,
        state=life.state,
        why=life.why or None,
        since_s=max(0.0, (now_ns - life.since_ns) / NS_PER_S),
        times_lost=life.times_lost,
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


def _ailment(silent: tuple[str, ...], away: str, blind: Blindness | None, lost: str | None) -> str | None:
    if silent:
        return f"silent: {', '.join(silent)}"
    if away or blind:
        return away or str(blind)
    return canary_lost(lost) if lost else None
