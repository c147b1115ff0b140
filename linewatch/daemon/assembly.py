"""The parts of one camera's service, built in three steps: what inspects, what decides, and what speaks to the outside.

Each step opens its parts on an exit stack, which closes them in reverse, and returns them in a dataclass.
"""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
import zmq

from linewatch.capture.admission import Admission, Intake
from linewatch.capture.coils import CoilAccount
from linewatch.capture.ring import FrameRing
from linewatch.config.inference import InferenceSettings
from linewatch.config.service import ServiceSettings
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.ports import Backend, Camera, Clock
from linewatch.daemon.coils.known import CoilBook
from linewatch.daemon.coils.manager import CoilDesk
from linewatch.daemon.coils.recorded import CoilScript, CoilTrace
from linewatch.daemon.crops import Looks
from linewatch.daemon.host_monitor import Host, MeasuredDisks, fullest_disk
from linewatch.daemon.orders import Orders
from linewatch.daemon.recipes import Recipes, RuleFiles
from linewatch.daemon.runner import Runner
from linewatch.daemon.sources import position_source
from linewatch.daemon.stages.decision import DecisionStage
from linewatch.daemon.stages.exchange import Exchange, statuses_of
from linewatch.daemon.stages.outlet import Outlet
from linewatch.daemon.status import StatusReport
from linewatch.daemon.topology import CAPTURE
from linewatch.daemon.totals import Tally
from linewatch.decision.decide import DecisionState
from linewatch.inference.backends.registry import open_backend, open_backends
from linewatch.inference.cascade import Cascade
from linewatch.inference.engines import EngineSet, load_engines
from linewatch.inference.lineup import Lineup
from linewatch.inference.pool import EnginePool
from linewatch.inference.workload import Workload
from linewatch.journal.journal import Journal
from linewatch.wire.commands import CommandServer
from linewatch.wire.encode import Sequencer, alarm_from
from linewatch.wire.endpoints import ServerKeys
from linewatch.wire.publisher import Publisher
from linewatch.wire.server import Server
from linewatch.wire.snapshot import Standing, alarm_of
from linewatch.wire.verdict_file import VerdictFile

log = structlog.get_logger()

LATENCIES_KEPT = 1 << 16


@dataclass(frozen=True, slots=True)
class Inspection:
    """From the camera to predictions."""

    backends: Sequence[Backend]  # by preference
    backend: Backend  # that serves at first
    recipes: Recipes
    pool: EnginePool
    workload: Workload | None  # None: a recording waits, so that nothing is ever shed
    cascade: Cascade
    ring: FrameRing
    account: CoilAccount
    book: CoilBook
    admission: Admission
    intake: Intake


def open_inspection(
    stack: ExitStack,
    settings: ServiceSettings,
    camera: Camera,
    workers: int,
    backends: Sequence[Backend],
    script: CoilScript,
) -> Inspection:
    """Load the engines with the rules that decide by them, and prepare the intake of frames."""
    backends = tuple(backends) or _backends(settings.inference, camera)
    backend, engines = _ready(backends, settings.inference)
    taxonomy = Taxonomy.read(settings.taxonomy) if settings.taxonomy else None
    recipes = Recipes(RuleFiles.read(settings, taxonomy), taxonomy, engines)
    pool = stack.enter_context(EnginePool(engines, backend, settings.inference.ladder, workers))
    workload = Workload(workers, settings.inference.deadline_ms) if camera.live else None
    cascade = Cascade(engines, settings.inference, settings.line, workload)
    ring = FrameRing(settings.capture.ring_slots, settings.line.frame_lines, settings.line.width_px)
    account = CoilAccount(script.starts)
    admission = Admission(settings.line, settings.capture, ring, account)
    return Inspection(
        backends,
        backend,
        recipes,
        pool,
        workload,
        cascade,
        ring,
        account,
        CoilBook(script.told),
        admission,
        Intake(camera, admission, ring),
    )


@dataclass(frozen=True, slots=True)
class Decisions:
    """From predictions to what was decided, what is remembered of it, and what may be ordered."""

    journal: Journal
    standing: Standing
    exchange: Exchange
    desk: CoilDesk
    orders: Orders
    tally: Tally
    looks: Looks | None
    stage: DecisionStage


def open_decisions(
    stack: ExitStack,
    settings: ServiceSettings,
    clock: Clock,
    runner: Runner,
    inspection: Inspection,
    *,
    live: bool,
    recorded: bool,
    reread: Callable[[], ServiceSettings] | None,
) -> Decisions:
    """Open the journal, and prepare the decision and whoever takes orders about engines, coils and alarms."""
    journal = stack.enter_context(Journal(settings.journal, clock.now_ns))
    if journal.recovery.torn_bytes:
        log.warning("journal_recovered", segment=journal.recovery.segment, torn_bytes=journal.recovery.torn_bytes)
    pool, cascade, recipes = inspection.pool, inspection.cascade, inspection.recipes
    standing = Standing(journal.epoch, statuses_of(pool, cascade.lineup), journal.alarms_standing())

    def tell(lineup: Lineup) -> None:
        recipes.use(lineup.serial, lineup.engines)
        standing.use(statuses_of(pool, lineup))

    def take_up(lineup: Lineup) -> None:
        tell(lineup)
        runner.between_frames(partial(cascade.use, lineup))

    exchange = Exchange(pool, cascade, inspection.backends, inspection.backend, settings.inference, take_up, tell)
    exchange.prepare({one.name: one.engines for one in settings.recipe}, wait=not live)
    desk = CoilDesk(
        settings,
        journal.epoch,
        inspection.account,
        inspection.book,
        recipes,
        recorded=recorded,
        reread=reread,
        lacking=lambda: exchange.trouble,
    )
    orders = Orders(map(alarm_of, journal.commanded()), runner.order)
    watched = settings.system_alarms.disks if settings.system_alarms else ()
    disks = stack.enter_context(MeasuredDisks(partial(fullest_disk, settings.journal.dir, watched), clock))
    host = Host(
        clock,
        disks.fullest,
        lambda: runner.health.ages_s()[CAPTURE.name],
        lambda: exchange.backend,
        lambda: exchange.trouble,
        live=live,
    )
    tally = Tally()
    looks = Looks(settings.crops, settings.line.across_offset_mm) if settings.crops else None
    state = DecisionState.initial(alarm_from(body) for body in standing.alarms)
    stage = DecisionStage(state, recipes, inspection.ring.release, tally, clock, orders, host.look, looks)
    return Decisions(journal, standing, exchange, desk, orders, tally, looks, stage)


@dataclass(frozen=True, slots=True)
class Wire:
    """What others hear of the decisions, and the sockets that answer them."""

    publisher: Publisher
    outlet: Outlet
    server: Server
    commands: CommandServer | None
    latencies_ns: deque[int]


def open_wire(
    stack: ExitStack,
    settings: ServiceSettings,
    clock: Clock,
    runner: Runner,
    inspection: Inspection,
    decisions: Decisions,
    keys: ServerKeys | None,
    verdicts: Path | None,
) -> Wire:
    """Open the verdict file, and prepare the sockets, which their stages bind."""
    journal, standing, exchange = decisions.journal, decisions.standing, decisions.exchange
    context = stack.enter_context(zmq.Context())
    trace = CoilTrace(settings.journal.dir, journal.epoch)
    stack.enter_context(trace.file)
    publisher = Publisher(context, settings.wire, keys)
    latencies_ns: deque[int] = deque(maxlen=LATENCIES_KEPT)
    report = StatusReport(
        runner,
        decisions.tally,
        inspection.ring,
        standing,
        exchange,
        inspection.workload,
        clock,
        inspection.admission.counts,
        position_source(settings),
        decisions.desk.status,
        decisions.looks,
    )
    outlet = Outlet(
        journal,
        Sequencer(journal.epoch, inspection.recipes.files.identity),
        publisher,
        standing,
        report,
        clock,
        heartbeat_hz=settings.wire.heartbeat_hz,
        verdicts=stack.enter_context(VerdictFile(verdicts)) if verdicts else None,
        latencies_ns=latencies_ns,
        settle=decisions.orders.settle,
        trace=trace,
        looks=decisions.looks,
    )
    server = Server(context, settings.wire, keys, journal, standing.snapshot)
    commands = None
    if settings.wire.commands:
        role = settings.wire.role_without_keys
        commands = CommandServer(
            context, settings.wire.commands, keys, exchange, decisions.orders, decisions.desk, role_without_keys=role
        )
    return Wire(publisher, outlet, server, commands, latencies_ns)


def _backends(settings: InferenceSettings, camera: Camera) -> tuple[Backend, ...]:
    """Open the configured backend; for a live camera, which cannot wait, also those that may serve in its place."""
    if not camera.live:
        return (open_backend(settings.backend, settings),)
    backends, errors = open_backends(settings)
    for error in errors:
        log.error("backend_unavailable", error=str(error))
    return backends


def _ready(backends: Sequence[Backend], settings: InferenceSettings) -> tuple[Backend, EngineSet]:
    """Return the first backend that can serve at once, else the first of all, and the engines as it runs them best."""
    for backend in backends:
        engines = load_engines(settings, backend.siblings)
        if all(backend.ready(engine.manifest, settings.ladder) for engine in engines.by_task().values()):
            return backend, engines
    return backends[0], load_engines(settings, backends[0].siblings)
