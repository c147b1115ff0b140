"""One camera's service: opens its parts in order, gives each stage its work, and closes the parts in reverse."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import structlog

from linewatch.capture.calibrated import CalibrationInForce
from linewatch.capture.calibration_watch import CalibrationWatch
from linewatch.capture.coils import CoilAccount
from linewatch.capture.find_calibration import calibrations
from linewatch.capture.lasting import camera_trouble
from linewatch.contracts.ports import Backend, Camera, Clock
from linewatch.daemon import topology
from linewatch.daemon.assembly import open_decisions, open_inspection, open_wire
from linewatch.daemon.canary import Canary, canary_lost
from linewatch.daemon.coils.recorded import RecordedCoilData
from linewatch.daemon.figures import ServiceFigures
from linewatch.daemon.frame_times import FrameTimes
from linewatch.daemon.reloading import RulesReader
from linewatch.daemon.runner import Runner
from linewatch.daemon.stages.cascade import CascadeStage
from linewatch.daemon.stages.engine import EngineStage
from linewatch.daemon.stages.exchange import EngineExchange
from linewatch.daemon.totals import Totals
from linewatch.daemon.watch import WATCH_S, ServiceWatch
from linewatch.inference.processor import available_cores
from linewatch.inference.workload import Workload
from linewatch.service_settings import ServiceSettings
from linewatch.wire.commands import CommandServer
from linewatch.wire.endpoints import load_keys
from linewatch.wire.publisher import Publisher
from linewatch.wire.schema import EngineStatus
from linewatch.wire.server import Server

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Service:
    """An opened service. `run` blocks; `stop` may be called from a signal handler or another thread."""

    runner: Runner
    totals: Totals
    publisher: Publisher
    server: Server
    engines: tuple[EngineStatus, ...]
    frame_times: FrameTimes
    figures: ServiceFigures
    workload: Workload | None  # None: nothing is ever shed
    commands: CommandServer | None
    exchange: EngineExchange
    rules: RulesReader
    coils: CoilAccount  # `starts`, `announce`: for an input that knows when a coil begins
    canary: Canary | None
    camera: Camera
    calibrated: CalibrationInForce

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
        watched = ServiceWatch(self.runner, self.totals, self._ailment, self._shed)

        def up() -> None:
            log.info("running", publish=self.publisher.endpoint, serve=self.server.endpoint)
            watched.ready()
            ready()

        def look() -> None:
            watched.look()
            watch()

        try:
            self.runner.run(up, look, WATCH_S, hold_s)
        finally:
            watched.stopped()

    def _ailment(self) -> str | None:
        if away := camera_trouble(self.camera):
            return f"waiting for its camera: {away}"
        if self.totals.blind:
            return str(self.totals.blind)
        lost = self.canary.trouble if self.canary else None
        return canary_lost(lost) if lost else None

    def _shed(self) -> tuple[str, ...]:
        return tuple(map(str, self.workload.shed)) if self.workload else ()


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
    calibration: str | None = None,
) -> Iterator[Service]:
    """Open everything around an opened `camera` but the sockets, which `run` binds; close all in reverse.

    verdicts: also write every decision to this file. backends: by preference, instead of the configured ones. recorded:
    all that a replay knows of its coils; files and orders of earlier runs are left alone. reread: the settings from
    the file that they came from. calibration: as `calibrations` takes it as `named`. Raises LinewatchErrors.
    """
    calibrated = CalibrationInForce(
        settings.line,
        calibrations(settings.calibration, settings.line, settings.source, calibration),
        settings.capture,
    )
    serial = camera.serial
    demanded = settings.calibration.required and settings.calibration.serial is None
    if serial or not (camera.live and demanded):  # else the camera may be away: what it lacks shows when it comes
        calibrated.begin(serial)
    cv2.setNumThreads(1)  # a stage is one thread: OpenCV's own would spin beside the engines' after every call
    keys = load_keys(settings.wire)
    workers = settings.inference.workers or available_cores()
    runner = Runner(clock, topology.TOPOLOGY, workers, camera.stop)
    with ExitStack() as stack:
        if camera.live and calibration is None:
            stack.enter_context(CalibrationWatch(calibrated, settings.calibration, lambda: camera.serial))
        inspection = open_inspection(stack, settings, camera, workers, backends, recorded, calibrated)
        decisions = open_decisions(
            stack,
            settings,
            clock,
            runner,
            inspection,
            camera=camera,
            recorded=recorded is not None,
            reread=reread,
        )
        wire = open_wire(stack, settings, camera, clock, runner, inspection, decisions, keys, verdicts)
        exchange, folder = decisions.exchange, decisions.coils.folder
        cascade = CascadeStage(
            calibrated,
            inspection.cascade,
            exchange,
            inspection.coil_data,
            inspection.recipes,
            clock,
            inspection.picture,
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
            wire.frame_times,
            wire.figures,
            inspection.workload,
            wire.commands,
            exchange,
            decisions.coils,
            inspection.admission.coils,
            inspection.canary,
            camera,
            calibrated,
        )
