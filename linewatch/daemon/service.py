"""One camera's service: opens everything in order, hands the work to the runner, closes everything in reverse."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import structlog
import zmq

from linewatch.capture.admission import Admission, Intake
from linewatch.capture.coils import CoilAccount
from linewatch.capture.ring import FrameRing
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.frame import PositionSource
from linewatch.contracts.ports import Backend, Camera, Clock
from linewatch.contracts.verdict import Quality
from linewatch.daemon.coils.manager import CoilDesk
from linewatch.daemon.coils.recorded import CoilScript, CoilTrace
from linewatch.daemon.crops import Looks
from linewatch.daemon.host_monitor import Host, MeasuredDisks, fullest_disk
from linewatch.daemon.notify import Notifier
from linewatch.daemon.orders import Orders
from linewatch.daemon.recipes import Recipes, RuleFiles
from linewatch.daemon.runner import Runner, Work
from linewatch.daemon.stages.cascade import Feeding
from linewatch.daemon.stages.decision import Deciding
from linewatch.daemon.stages.engine import Running
from linewatch.daemon.stages.exchange import Exchange, statuses_of
from linewatch.daemon.stages.outlet import Outlet, open_outlet
from linewatch.daemon.status import StatusReport
from linewatch.daemon.topology import CAPTURE
from linewatch.daemon.totals import Tally
from linewatch.decision.decide import DecisionState
from linewatch.inference.backends.registry import open_backend, open_backends
from linewatch.inference.cascade import Cascade
from linewatch.inference.engines import EngineSet, load_engines
from linewatch.inference.lineup import Lineup
from linewatch.inference.pool import EnginePool
from linewatch.inference.processor import available_cores
from linewatch.inference.settings import InferenceSettings
from linewatch.inference.workload import Workload
from linewatch.journal.journal import Journal
from linewatch.service_settings import ServiceSettings
from linewatch.wire.commands import CommandServer
from linewatch.wire.encode import Sequencer, alarm_from
from linewatch.wire.endpoints import load_keys
from linewatch.wire.publisher import Publisher
from linewatch.wire.router import Router
from linewatch.wire.schema import EngineStatus
from linewatch.wire.server import Server
from linewatch.wire.snapshot import Standing, alarm_of
from linewatch.wire.verdict_file import VerdictFile

log = structlog.get_logger()

LATENCIES_KEPT = 1 << 16

WATCH_S = 0.25
"""How often the main thread looks at the stages' health and feeds the watchdog."""


@dataclass(frozen=True, slots=True)
class Service:
    """An opened service. `run` blocks; `stop` may be called from a signal handler or another thread."""

    runner: Runner
    tally: Tally
    publisher: Publisher
    server: Server
    engines: tuple[EngineStatus, ...]
    latencies_ns: deque[int]  # of the newest frames: last line to publication
    workload: Workload | None  # None: nothing is ever shed
    commands: CommandServer | None
    exchange: Exchange
    coils: CoilAccount  # `starts` and `announce`: a coil begins, by order of whoever knows

    def stop(self) -> None:
        """End capture; what was captured is still decided and published."""
        self.runner.stop()

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
        notifier, ailing = Notifier(), False
        missed_lines, missing = 0, False
        shed: tuple[str, ...] = ()

        def up() -> None:
            log.info("running", publish=self.publisher.endpoint, serve=self.server.endpoint)
            notifier.ready()
            ready()

        def look() -> None:
            nonlocal ailing, missing, missed_lines, shed
            silent = self.runner.health.silent()
            if silent and not ailing:
                log.error("stage_silent", stages=silent)
            elif ailing and not silent:
                log.info("stages_tick_again")
            ailing = bool(silent)
            before, missed_lines = missed_lines, self.tally.lines[Quality.MISSED]
            if missed_lines > before and not missing:
                log.warning("lines_missed", lines_by_cause=dict(self.tally.lines_by_cause))
            elif missed_lines == before and missing:
                log.info("inspecting_again", lines_by_cause=dict(self.tally.lines_by_cause))
            missing = missed_lines > before
            before_shed, shed = shed, tuple(map(str, self.workload.shed)) if self.workload else ()
            if shed != before_shed:
                (log.warning if shed else log.info)("shedding" if shed else "nothing_shed", work=shed)
            (notifier.ailing if silent else notifier.alive)(self._status_line(silent))
            watch()

        try:
            self.runner.run(up, look, WATCH_S, hold_s)
        finally:
            notifier.stopping()
            log.info(
                "stopped",
                frames=self.tally.frames,
                coverage=round(self.tally.coverage, 6),
                lines_by_cause=dict(self.tally.lines_by_cause),
                failure=str(self.runner.failure) if self.runner.failure else None,
            )

    def _status_line(self, silent: tuple[str, ...]) -> str:
        tally = self.tally
        where = f"{tally.coil} {tally.along_mm / 1000:.1f} m, coverage {tally.coverage:.2%}, {tally.quality}"
        return f"UNHEALTHY, silent: {', '.join(silent)}; {where}" if silent else where


@contextmanager
def open_service(
    settings: ServiceSettings,
    camera: Camera,
    clock: Clock,
    *,
    verdicts: Path | None = None,
    backends: Sequence[Backend] = (),
    script: CoilScript | None = None,
    reread: Callable[[], ServiceSettings] | None = None,
) -> Iterator[Service]:
    """Load engines, open journal and sockets' settings around an opened `camera`; close all in reverse.

    verdicts: also write every decision to this file. backends: by preference, instead of the configured ones. script:
    of a replay: what is known of the coils; files and orders of earlier runs are left alone. reread: the settings from
    the file that they came from. Raises LinewatchErrors.
    """
    cv2.setNumThreads(1)  # a stage is one thread: OpenCV's own would spin beside the engines' after every call
    with ExitStack() as stack:
        backends = tuple(backends) or _backends(settings.inference, camera)
        serving, engines = _ready(backends, settings.inference)
        taxonomy = Taxonomy.read(settings.taxonomy) if settings.taxonomy else None
        recipes = Recipes(RuleFiles.read(settings, taxonomy), taxonomy, engines)
        keys = load_keys(settings.wire)
        workers = settings.inference.workers or available_cores()
        pool = stack.enter_context(EnginePool(engines, serving, settings.inference.ladder, workers))
        workload = Workload(workers, settings.inference.deadline_ms) if camera.live else None  # a recording waits
        cascade = Cascade(engines, settings.inference, settings.line, workload)
        journal = stack.enter_context(Journal(settings.journal, clock.now_ns))
        if journal.recovery.torn_bytes:
            log.warning("journal_recovered", segment=journal.recovery.segment, torn_bytes=journal.recovery.torn_bytes)
        verdict_file = stack.enter_context(VerdictFile(verdicts)) if verdicts else None
        context = stack.enter_context(zmq.Context())

        ring = FrameRing(settings.capture.ring_slots, settings.line.frame_lines, settings.line.width_px)
        trace = CoilTrace(settings.journal.dir, journal.epoch)
        stack.enter_context(trace.file)
        desk = CoilDesk(settings, journal.epoch, recipes, script, reread, lambda: exchange.trouble)
        admission = Admission(settings.line, settings.capture, ring, desk.account)
        intake = Intake(camera, admission, ring)
        identities = statuses_of(pool, cascade.lineup)
        standing = Standing(journal.epoch, identities, journal.alarms_standing())
        tally = Tally()
        positions = settings.source.position_source if settings.source else PositionSource.LINE_RATE
        latencies_ns: deque[int] = deque(maxlen=LATENCIES_KEPT)
        orders = Orders(map(alarm_of, journal.commanded()), lambda order: runner.order(order))  # noqa: PLW0108 - made below
        watched = settings.system_alarms.disks if settings.system_alarms else ()
        disks = stack.enter_context(MeasuredDisks(partial(fullest_disk, settings.journal.dir, watched), clock))
        host = Host(
            clock,
            disks.fullest,
            lambda: runner.health.ages_s()[CAPTURE.name],
            lambda: exchange.backend,
            lambda: exchange.trouble,
            live=camera.live,
        )
        looks = Looks(settings.crops, settings.line.across_offset_mm) if settings.crops else None
        deciding = Deciding(
            DecisionState.initial(alarm_from(body) for body in standing.alarms),
            recipes,
            ring.release,
            tally,
            clock,
            orders,
            host.look,
            looks,
        )

        def tell(lineup: Lineup) -> None:
            recipes.use(lineup.serial, lineup.engines)
            standing.use(statuses_of(pool, lineup))

        def take_up(lineup: Lineup) -> None:
            tell(lineup)
            runner.between_frames(partial(cascade.use, lineup))

        exchange = Exchange(pool, cascade, backends, serving, settings.inference, take_up, tell)
        exchange.prepare({one.name: one.engines for one in settings.recipe}, wait=not camera.live)

        def make_outlet() -> Outlet:
            report = StatusReport(
                runner,
                tally,
                ring,
                standing,
                exchange,
                workload,
                clock,
                admission.counts,
                positions,
                desk.status,
                looks,
            )
            return Outlet(
                journal,
                Sequencer(journal.epoch, recipes.files.identity),
                publisher,
                standing,
                report,
                clock,
                heartbeat_hz=settings.wire.heartbeat_hz,
                verdicts=verdict_file,
                latencies_ns=latencies_ns,
                settle=orders.settle,
                trace=trace,
                looks=looks,
            )

        publisher = Publisher(context, settings.wire, keys)
        server = Server(context, settings.wire, keys, journal, standing.snapshot)
        role, endpoint = settings.wire.role_without_keys, settings.wire.commands
        commands = (
            CommandServer(context, endpoint, keys, exchange, orders, desk, role_without_keys=role) if endpoint else None
        )
        runner = Runner(
            Work(
                capture=intake.frames,
                stop_capture=camera.stop,
                feed=Feeding(settings.capture, cascade, exchange, desk.book, recipes),
                cascade=cascade,
                engine=Running(pool, exchange.lose),
                decide=deciding,
                attend=deciding.attend,
                finish=deciding.finish,
                open_outlet=partial(open_outlet, publisher, make_outlet),
                open_catchup=partial(_open_serving, server),
                workers=workers,
                open_commands=partial(_open_serving, commands) if commands else None,
                exchange=exchange.work,
                coil_files=desk.folder.look if desk.folder else None,
            ),
            clock,
        )
        yield Service(
            runner, tally, publisher, server, identities, latencies_ns, workload, commands, exchange, admission.coils
        )


def _backends(settings: InferenceSettings, camera: Camera) -> tuple[Backend, ...]:
    """The configured backend; for a live camera, which cannot wait, also those that may serve in its place."""
    if not camera.live:
        return (open_backend(settings.backend, settings),)
    backends, errors = open_backends((settings.backend, *settings.fallback), settings)
    for error in errors:
        log.error("backend_unavailable", error=str(error))
    return backends


def _ready(backends: Sequence[Backend], settings: InferenceSettings) -> tuple[Backend, EngineSet]:
    """The first backend that can serve at once, else the first of all, and the engines as it runs them best."""
    for backend in backends:
        engines = load_engines(settings, backend.siblings)
        if all(backend.ready(engine.manifest, settings.ladder) for engine in engines.by_task().values()):
            return backend, engines
    return backends[0], load_engines(settings, backends[0].siblings)


@contextmanager
def _open_serving(router: Router[Any]) -> Iterator[Callable[[float], None]]:
    def serve(timeout_s: float) -> None:
        router.poll(round(timeout_s * 1000))

    with router:
        yield serve
