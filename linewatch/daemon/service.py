"""One camera's service: opens its parts in order, gives each stage its work, and closes the parts in reverse."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import structlog

from linewatch.capture.coils import CoilAccount
from linewatch.contracts.ports import Backend, Camera, Clock
from linewatch.contracts.verdict import Quality
from linewatch.daemon import topology
from linewatch.daemon.assembly import open_decisions, open_inspection, open_wire
from linewatch.daemon.canary import Canary, canary_lost
from linewatch.daemon.coils.recorded import RecordedCoilData
from linewatch.daemon.runner import Runner
from linewatch.daemon.stages.cascade import CascadeStage
from linewatch.daemon.stages.engine import EngineStage
from linewatch.daemon.stages.exchange import EngineExchange
from linewatch.daemon.totals import Totals
from linewatch.inference.processor import available_cores
from linewatch.inference.workload import Workload
from linewatch.logs import log_sums
from linewatch.service_settings import ServiceSettings
from linewatch.systemd import Notifier
from linewatch.terminal import percent
from linewatch.wire.commands import CommandServer
from linewatch.wire.endpoints import load_keys
from linewatch.wire.publisher import Publisher
from linewatch.wire.schema import EngineStatus
from linewatch.wire.server import Server

log = structlog.get_logger()

WATCH_S = 0.25
"""How often the main thread checks the stages' health and feeds the watchdog."""


@dataclass(frozen=True, slots=True)
class Service:
    """An opened service. `run` blocks; `stop` may be called from a signal handler or another thread."""

    runner: Runner
    totals: Totals
    publisher: Publisher
    server: Server
    engines: tuple[EngineStatus, ...]
    latencies_ns: deque[int]  # of the newest frames: last line to publication
    workload: Workload | None  # None: nothing is ever shed
    commands: CommandServer | None
    exchange: EngineExchange
    coils: CoilAccount  # `starts`, `announce`: for an input that knows when a coil begins
    canary: Canary | None

    def stop(self) -> None:
        """End capture; what was captured is still decided and published."""
        self.runner.stop()

    def pause(self) -> None:
        """As `stop`; but the coil under the camera does not end: a service that is started again goes on with it."""
        self.runner.pause()

    def run(
        self,
        ready: Callable[[], None] = lambda: None,
        watch: Callable[[], None] = lambda: None,
        hold_s: float = 0.0,
    ) -> None:
        """Inspect until the source ends or `stop`, then serve consumers for `hold_s` more.

        `ready` is called once sockets are bound, `watch` a few times a second.

        Raises StageError when a stage failed, WireError when a socket cannot be bound.
        """
        notifier, unhealthy, blind_before = Notifier(), False, False
        missed_lines, missing = 0, False
        shed: tuple[str, ...] = ()

        def up() -> None:
            log.info("running", publish=self.publisher.endpoint, serve=self.server.endpoint)
            notifier.ready()
            ready()

        def look() -> None:
            nonlocal unhealthy, blind_before, missing, missed_lines, shed
            log_sums()
            silent = self.runner.health.silent()
            if silent and not unhealthy:
                log.error("stage_silent", stages=silent)
            elif unhealthy and not silent:
                log.info("stages_recovered")
            unhealthy = bool(silent)
            blind = self.totals.blind
            if blind and not blind_before:
                log.error("blind", cause=blind.cause, seconds=round((blind.now_ns - blind.since_ns) / 1e9, 1))
            elif blind_before and not blind:
                log.info("blind_ended")
            blind_before = blind is not None
            before, missed_lines = missed_lines, self.totals.lines[Quality.MISSED]
            if missed_lines > before and not missing:
                log.warning("lines_missed", lines_by_cause=dict(self.totals.lines_by_cause))
            elif missed_lines == before and missing:
                log.info("inspection_resumed", lines_by_cause=dict(self.totals.lines_by_cause))
            missing = missed_lines > before
            before_shed, shed = shed, tuple(map(str, self.workload.shed)) if self.workload else ()
            if shed != before_shed:
                (log.warning if shed else log.info)("shedding" if shed else "shedding_ended", work=shed)
            starve = silent or (blind is not None and blind.of_the_service)
            (notifier.unhealthy if starve else notifier.alive)(self._status_line(silent))
            watch()

        try:
            self.runner.run(up, look, WATCH_S, hold_s)
        finally:
            notifier.stopping()
            log.info(
                "stopped",
                frames=self.totals.frames,
                coverage=round(self.totals.coverage, 6),
                lines_by_cause=dict(self.totals.lines_by_cause),
                failure=str(self.runner.failure) if self.runner.failure else None,
            )

    def _status_line(self, silent: tuple[str, ...]) -> str:
        totals = self.totals
        where = f"{totals.coil} {totals.along_mm / 1000:.1f} m, coverage {percent(totals.coverage)}, {totals.quality}"
        if silent:
            return f"UNHEALTHY, silent: {', '.join(silent)}; {where}"
        if blind := totals.blind:
            return f"UNHEALTHY, {blind}; {where}"
        lost = self.canary.trouble if self.canary else None
        return f"UNHEALTHY, {canary_lost(lost)}; {where}" if lost else where


@contextmanager
def open_service(
    settings: ServiceSettings,
    camera: Camera,
    clock: Clock,
    *,
    verdicts: Path | None = None,
    backends: Sequence[Backend] = (),
    recorded: RecordedCoilData | None = None,
    reread: Callable[[], ServiceSettings] | None = None,
) -> Iterator[Service]:
    """Open everything around an opened `camera` but the sockets, which `run` binds; close all in reverse.

    verdicts: also write every decision to this file. backends: by preference, instead of the configured ones. recorded:
    all that a replay knows of its coils; files and orders of earlier runs are left alone. reread: the settings from
    the file that they came from. Raises LinewatchErrors.
    """
    cv2.setNumThreads(1)  # a stage is one thread: OpenCV's own would spin beside the engines' after every call
    keys = load_keys(settings.wire)
    workers = settings.inference.workers or available_cores()
    runner = Runner(clock, workers, camera.stop)
    with ExitStack() as stack:
        inspection = open_inspection(stack, settings, camera, workers, backends, recorded)
        decisions = open_decisions(
            stack,
            settings,
            clock,
            runner,
            inspection,
            live=camera.live,
            recorded=recorded is not None,
            reread=reread,
        )
        wire = open_wire(stack, settings, clock, runner, inspection, decisions, keys, verdicts)
        exchange, folder = decisions.exchange, decisions.coils.folder
        cascade = CascadeStage(
            settings.capture,
            inspection.cascade,
            exchange,
            inspection.coil_data,
            inspection.recipes,
            clock,
            inspection.canary,
        )
        runner.add(topology.CAPTURE, inspection.intake.frames)
        runner.add(topology.CASCADE, cascade)
        runner.add(topology.DECISION, decisions.stage)
        runner.add(topology.OUTLET, wire.outlet)
        runner.add(topology.CATCHUP, wire.server)
        if wire.commands is not None:
            runner.add(topology.COMMANDS, wire.commands)
        runner.add(topology.ENGINE, EngineStage(inspection.pool, exchange.lose, exchange.failed))
        runner.add(topology.EXCHANGE, exchange.work)
        if folder is not None:
            runner.add(topology.COIL_FILES, folder.scan)
        yield Service(
            runner,
            decisions.totals,
            wire.publisher,
            wire.server,
            exchange.engines,
            wire.latencies_ns,
            inspection.workload,
            wire.commands,
            exchange,
            inspection.admission.coils,
            inspection.canary,
        )
