"""What the heartbeat says: the service's state, read from the running stages."""

import time
from collections.abc import Callable

from linewatch.capture.admission import AdmissionCounts
from linewatch.capture.ring import FrameRing
from linewatch.contracts.frame import PositionSource
from linewatch.contracts.ports import Clock
from linewatch.daemon.crops import Looks
from linewatch.daemon.runner import Runner
from linewatch.daemon.stages.exchange import Exchange
from linewatch.daemon.topology import CAPTURE, DECIDED_QUEUE, TOPOLOGY
from linewatch.daemon.totals import Tally
from linewatch.inference.workload import Workload
from linewatch.wire.schema import (
    CoilStatus,
    CropStatus,
    PositionStatus,
    ServiceState,
    StageState,
    StageStatus,
    StatusBody,
)
from linewatch.wire.snapshot import Standing

RATE_WINDOW_NS = 2_000_000_000
NS_PER_S = 1e9


class StatusReport:
    """Made by the outlet for each heartbeat. Reads what other threads write: figures may differ by a frame."""

    def __init__(
        self,
        runner: Runner,
        tally: Tally,
        ring: FrameRing,
        standing: Standing,
        exchange: Exchange,
        workload: Workload | None,
        clock: Clock,
        admitted: AdmissionCounts,
        position_source: PositionSource,
        coil: Callable[[], CoilStatus],
        looks: Looks | None = None,
    ) -> None:
        self._runner = runner
        self._tally = tally
        self._ring = ring
        self._standing = standing
        self._exchange = exchange
        self._workload = workload
        self._clock = clock
        self._admitted = admitted
        self._position_source = position_source
        self._coil = coil
        self._looks = looks
        self._started_ns = clock.now_ns()
        self._beats = 0
        self._window = (self._started_ns, 0, 0)
        self._rates = (0.0, 0.0)

    def __call__(self) -> StatusBody:
        """The status now; counts a beat if every stage ticks."""
        now_ns = self._clock.now_ns()
        silent = self._runner.health.silent()
        healthy = not silent and self._runner.failure is None
        self._beats += healthy
        self._update_rates(now_ns)
        tally, standing = self._tally, self._standing.asking
        return StatusBody(
            heartbeat=self._beats,
            healthy=healthy,
            state=ServiceState.FAILED if self._runner.failure else self._runner.state,
            failure=str(self._runner.failure) if self._runner.failure else _silence(silent),
            quality=tally.quality,
            uptime_s=(now_ns - self._started_ns) / NS_PER_S,
            now_ns=now_ns,
            now_unix_ns=time.time_ns(),
            coil=tally.coil or None,
            along_mm=tally.along_mm if tally.coil else None,
            frames=tally.frames,
            frames_per_s=self._rates[0],
            tiles_per_s=self._rates[1],
            lines_by_quality={quality.value: lines for quality, lines in tally.lines.items()},
            lines_by_cause=dict(tally.lines_by_cause),
            shed=self._workload.shed if self._workload else (),
            defects=tally.opened,
            alarms_standing=len(standing),
            alarms_unacknowledged=sum(not alarm.acked_state for alarm in standing),
            ring_free=self._ring.free,
            ring_slots=self._ring.slots,
            stages=self._stages(silent),
            engines=self._exchange.engines,
            backend=self._exchange.backend,
            beside=self._exchange.beside,
            position=PositionStatus(
                source=self._position_source,
                encoded=self._admitted.encoded,
                fault=self._admitted.position_fault,
                repeated_lines=self._admitted.repeated_lines,
            ),
            coil_status=self._coil(),
            crops=_crops(self._looks),
        )

    def _update_rates(self, now_ns: int) -> None:
        since_ns, frames, tiles = self._window
        if now_ns - since_ns >= RATE_WINDOW_NS:
            elapsed_s = (now_ns - since_ns) / NS_PER_S
            self._rates = ((self._tally.frames - frames) / elapsed_s, (self._tally.tiles - tiles) / elapsed_s)
            self._window = (now_ns, self._tally.frames, self._tally.tiles)

    def _stages(self, silent: tuple[str, ...]) -> tuple[StageStatus, ...]:
        fill = self._runner.queue_fill()
        limits = {row.name: row for row in TOPOLOGY}
        return tuple(
            StageStatus(
                name=name,
                state=StageState.LATE if name in silent else StageState.TICKING,
                tick_age_ms=max(0.0, age_s * 1000),
                deadline_ms=(row := limits[name.partition("-")[0]]).silence_limit_s * 1000,
                queued=fill.get(row.takes, 0),
                queue_size=DECIDED_QUEUE if row.takes == "decided" else self._ring.slots,
                done=self._tally.frames,
                dropped=self._tally.frames_overrun if row is CAPTURE else 0,  # no other stage drops
            )
            for name, age_s in self._runner.health.ages_s().items()
        )


def _crops(looks: Looks | None) -> CropStatus | None:
    return CropStatus(made=looks.made, waiting=looks.waiting, not_made=looks.not_made) if looks else None


def _silence(silent: tuple[str, ...]) -> str | None:
    return f"silent: {', '.join(silent)}" if silent else None
