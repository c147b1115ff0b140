"""`linewatch strip`: opens its parts, gives each stage its work, and closes the parts in reverse."""

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import structlog
import zmq

from linewatch.capture.clock import MonotonicClock
from linewatch.config.calibration_file import read_calibration
from linewatch.daemon.alarm_orders import AlarmOrders
from linewatch.daemon.coils.folder import CoilFolder
from linewatch.daemon.figures import ServiceFigures
from linewatch.daemon.frame_times import FrameTimes
from linewatch.daemon.host_monitor import DiskMonitor, measure_disks
from linewatch.daemon.reloading import RulesReader, reloading
from linewatch.daemon.runner import Runner
from linewatch.daemon.slow_start import told_while_slow
from linewatch.daemon.stages.outlet import Outlet
from linewatch.daemon.totals import Totals
from linewatch.daemon.untold import UntoldDecisions
from linewatch.daemon.watch import WATCH_S, ServiceWatch
from linewatch.journal.keeper import JournalKeeper, log_recovery
from linewatch.monitoring.endpoint import monitored
from linewatch.signals import on_end, on_reload
from linewatch.strip import topology
from linewatch.strip.coil_commands import CoilCommands
from linewatch.strip.crops import StripCrops
from linewatch.strip.join_stage import JoinClock, JoinStage
from linewatch.strip.listeners import CameraListener, CameraPlace, HeardCamera, Listeners, Show, Source
from linewatch.strip.raster import StripLayout
from linewatch.strip.readers import readers_of
from linewatch.strip.resume import resume
from linewatch.strip.settings import StripSettings
from linewatch.strip.status import HostView, StripStatus
from linewatch.wire.access.audit import AuditTrail
from linewatch.wire.access.server_keys import ServerKeys
from linewatch.wire.bridges import Bridges
from linewatch.wire.commands import CommandServer
from linewatch.wire.decode import alarm_body_of
from linewatch.wire.encode import Sequencer
from linewatch.wire.endpoints import load_keys
from linewatch.wire.publisher import Publisher
from linewatch.wire.schema import (
    CoilStatus,
    EngineAction,
    EngineBeside,
    EngineCommand,
    EngineStatus,
)
from linewatch.wire.server import Server

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StripService:
    """An opened strip process. `run` blocks; `stop` may be called from any thread."""

    runner: Runner
    totals: Totals
    publisher: Publisher
    server: Server
    commands: CommandServer | None
    rules: RulesReader
    status: StripStatus
    figures: ServiceFigures

    def stop(self) -> None:
        """Follow the cameras no longer; what was heard is still joined and published. The coil goes on later."""
        self.runner.stop()

    def run(self, ready: Callable[[], None] = lambda: None, watch: Callable[[], None] = lambda: None) -> None:
        """Join until `stop`. Raises StageError when a stage failed, WireError when a socket cannot be bound."""
        watched = ServiceWatch(self.runner, self.totals, self.status.ailment)

        def up() -> None:
            log.info("running", publish=self.publisher.endpoint, serve=self.server.endpoint)
            watched.ready()
            ready()

        def look() -> None:
            watched.look()
            watch()

        try:
            self.runner.run(up, look, WATCH_S)
        finally:
            watched.stopped()


def run_strip(settings: StripSettings, reread: Callable[[], StripSettings] | None = None) -> None:
    """Join the configured cameras until SIGINT or SIGTERM. Raises LinewatchErrors.

    reread: returns the settings as their file has them now, for `linewatch reload rules` and SIGHUP.
    """
    log.info("starting", cameras=[camera.key for camera in settings.camera])
    for camera in settings.camera:
        if camera.calibration is not None:
            known = read_calibration(camera.calibration)
            log.info("calibration", camera=camera.key, identity=known.identity, serial=known.serial)
            for remark in known.remarks:
                log.warning("calibration_doubtful", camera=camera.key, why=remark)
    with (
        open_strip(settings, reread) as service,
        on_end(service.stop),
        on_reload(reloading(service.rules)),
        monitored(settings.monitoring, service.figures),
    ):
        gc.freeze()  # what is loaded stays; looking through it again and again would hold up frames
        service.run()


@contextmanager
def open_strip(settings: StripSettings, reread: Callable[[], StripSettings] | None = None) -> Iterator[StripService]:
    """Open everything but the sockets, which `run` binds; close all in reverse. Raises LinewatchErrors."""
    keys, clock, cameras = load_keys(settings.wire), MonotonicClock(), [one.key for one in settings.camera]
    with ExitStack() as stack:
        with told_while_slow(f"the disk of the journal in {settings.journal.dir}"):
            keeper = stack.enter_context(JournalKeeper(settings.journal, clock.now_ns))
        journal = keeper.journal
        log_recovery(journal.recovery)
        totals = Totals()
        resumed = resume(settings, journal, cameras)
        crops = StripCrops(StripLayout(settings), resumed.passage)
        heard, sources = _sources(settings, resumed.heard_log.places, crops.hear)
        listeners = Listeners(sources)
        runner = Runner(clock, topology.TOPOLOGY, len(cameras), listeners.stop)
        orders = AlarmOrders(map(alarm_body_of, journal.commanded()), partial(runner.hand, topology.HEARD))
        disks = stack.enter_context(
            DiskMonitor(partial(measure_disks, settings.journal.dir, settings.system_alarms.disks), clock)
        )
        stage = JoinStage(
            resumed.joining,
            resumed.heard_log,
            resumed.retained,
            totals,
            JoinClock(settings.strip.wait_s, settings.strip.catch_up_s, resumed.again.now_ns),
            orders,
            HostView(heard, disks, keeper, resumed.trouble, clock).read,
            resumed.waiting,
            resumed.known,
            crops,
        )
        standing, untold, bridges = resumed.standing, UntoldDecisions(totals), Bridges()
        sequencer = Sequencer(journal.epoch, resumed.joining.joiner.rules.config, resumed.passage)

        def coil() -> CoilStatus:
            now = stage.status()
            return now if folder is None else now.model_copy(update={"trouble": folder.trouble})

        status = StripStatus(
            runner,
            totals,
            standing,
            clock,
            heard,
            coil,
            keeper,
            untold,
            disks,
            settings.system_alarms.disk_free_below_mb,
            bridges,
            crops,
        )
        frame_times = FrameTimes()
        context = stack.enter_context(zmq.Context())
        publisher = Publisher(context, settings.wire, keys)
        outlet = Outlet(
            keeper,
            sequencer,
            publisher,
            standing,
            status,
            status.bare,
            clock,
            orders.settle,
            None,
            crops,
            None,
            untold,
            stage.heard_log,
            frame_times,
            heartbeat_ns=int(1e9 / settings.wire.heartbeat_hz),
            next_heartbeat_ns=clock.now_ns(),
        )
        server = Server(context, settings.wire, keys, keeper, standing.snapshot, bridges)
        coils = CoilCommands(
            settings.camera,
            stage.place,
            stage.status,
            resumed.joining.joiner.rules,
            reread,
            partial(runner.hand, topology.HEARD),
        )
        folder = None if settings.coil_data is None else CoilFolder(settings.coil_data, coils.take_file)
        runner.add(topology.LISTEN, listeners)
        runner.add(topology.JOIN, stage)
        runner.add(topology.OUTLET, outlet)
        runner.add(topology.CATCHUP, server)
        commands = _command_server(context, settings, keys, keeper, orders, coils)
        if commands is not None:
            runner.add(topology.COMMANDS, commands)
        if commands is not None or folder is not None:
            runner.add(topology.FORWARD, coils)
        if folder is not None:
            runner.add(topology.COIL_FILES, folder.scan)
        figures = ServiceFigures("strip", status, totals, standing, frame_times, keeper.sync_times)
        yield StripService(runner, totals, publisher, server, commands, coils, status, figures)


def _sources(
    settings: StripSettings, places: Mapping[str, CameraPlace], show: Show
) -> tuple[tuple[HeardCamera, ...], tuple[Source, ...]]:
    """Return all cameras, and what the listening stage's threads follow.

    places: where the cameras stood. show: takes their pictures.
    """
    if settings.strip.readers:
        return readers_of(settings.camera, places, settings.strip.readers, settings.log.level, show)
    listeners = tuple(
        CameraListener(number, one, places.get(one.key, CameraPlace()), show)
        for number, one in enumerate(settings.camera)
    )
    return listeners, listeners


def _command_server(
    context: zmq.Context[zmq.Socket[bytes]],
    settings: StripSettings,
    keys: ServerKeys | None,
    keeper: JournalKeeper,
    orders: AlarmOrders,
    coils: CoilCommands,
) -> CommandServer | None:
    """Return the server of the command socket; None: none is configured."""
    if not settings.wire.commands:
        return None
    return CommandServer(
        context,
        settings.wire.commands,
        keys,
        _NoEngines(),
        orders,
        coils,
        role_without_keys=settings.wire.role_without_keys,
        audit=AuditTrail(settings.journal.dir / "audit", keeper.also),
    )


class _NoEngines:
    """Refuses commands about engines."""

    engines: tuple[EngineStatus, ...] = ()
    beside: EngineBeside | None = None

    def command(self, command: EngineCommand) -> str | None:
        if command.action is EngineAction.SHOW:
            return None
        return "a strip process has no engines; send the command to the service of a camera"
