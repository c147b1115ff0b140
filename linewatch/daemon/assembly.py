"""The parts of one camera's service, built in three steps: what inspects, what decides, and what speaks to the outside.

Each step opens its parts on an exit stack, which closes them in reverse, and returns them in a dataclass.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
import zmq

from linewatch.capture.admission import Admission, Intake
from linewatch.capture.calibrated import CalibrationInForce
from linewatch.capture.coils import CoilAccount
from linewatch.capture.lasting import LastingCamera
from linewatch.capture.picture.meter import PictureMeter
from linewatch.capture.ring import FrameRing
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.camera import CameraState
from linewatch.contracts.frame import PositionSource
from linewatch.contracts.ports import Backend, Camera, Clock
from linewatch.daemon.alarm_orders import AlarmOrders
from linewatch.daemon.canary import Canary
from linewatch.daemon.coils.coil_data import KnownCoilData
from linewatch.daemon.coils.manager import CoilManager
from linewatch.daemon.coils.recorded import CoilDataRecorder, RecordedCoilData
from linewatch.daemon.crops import DefectCrops
from linewatch.daemon.figures import ServiceFigures
from linewatch.daemon.frame_times import FrameTimes
from linewatch.daemon.host_monitor import DiskMonitor, HostMonitor, measure_disks
from linewatch.daemon.newest_picture import NewestPictureMaker
from linewatch.daemon.recipes import Recipes, RuleFiles
from linewatch.daemon.restart_point import EarlierRuns, RestartPoints, Unfinished, earlier_runs
from linewatch.daemon.runner import Runner
from linewatch.daemon.slow_start import told_while_slow
from linewatch.daemon.stages.decision import DecisionStage
from linewatch.daemon.stages.exchange import EngineExchange, statuses_of
from linewatch.daemon.stages.outlet import Outlet
from linewatch.daemon.status import StatusReport
from linewatch.daemon.topology import CAPTURE, FRAMES, PREDICTIONS
from linewatch.daemon.totals import Totals
from linewatch.daemon.trial_view import TrialView
from linewatch.daemon.untold import UntoldDecisions
from linewatch.daemon.wall_clock import WallClock
from linewatch.decision.decide import so_far
from linewatch.decision.resume import resumed
from linewatch.inference.backends.registry import open_backend, open_backends
from linewatch.inference.cascade import Cascade
from linewatch.inference.engines import EngineSet, load_engines
from linewatch.inference.lineup import Lineup
from linewatch.inference.pool import EnginePool
from linewatch.inference.settings import InferenceSettings
from linewatch.inference.workload import Workload
from linewatch.journal.journal import Journal
from linewatch.journal.keeper import JournalKeeper, log_recovery
from linewatch.monitoring.traces import traced
from linewatch.service_settings import ServiceSettings
from linewatch.wire.access.audit import AuditTrail
from linewatch.wire.bridges import Bridges
from linewatch.wire.commands import CommandServer
from linewatch.wire.decode import alarm_body_of, alarm_from
from linewatch.wire.encode import Sequencer, coil_body
from linewatch.wire.endpoints import ServerKeys
from linewatch.wire.publisher import Publisher
from linewatch.wire.server import Server
from linewatch.wire.snapshot import SnapshotTracker
from linewatch.wire.verdict_file import VerdictFile

log = structlog.get_logger()


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
    coil_data: KnownCoilData
    admission: Admission
    intake: Intake
    picture: PictureMeter
    canary: Canary | None  # None: there is none


def open_inspection(
    stack: ExitStack,
    settings: ServiceSettings,
    camera: Camera,
    workers: int,
    backends: Sequence[Backend],
    recorded: RecordedCoilData | None,
    calibrated: CalibrationInForce,
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
    told = recorded or RecordedCoilData()
    admission = Admission(settings.line, settings.capture, ring, CoilAccount(told.starts), calibrated)
    known, intake = KnownCoilData(told.entries), Intake(camera, admission, ring)
    canary = Canary(settings.canary, settings.line, recipes) if settings.canary and recorded is None else None

    def flat() -> bool:
        calibration = calibrated.calibration
        return calibration is not None and calibration.flat_field is not None

    picture = PictureMeter(settings.picture, settings.capture, settings.line, flat)
    return Inspection(
        backends, backend, recipes, pool, workload, cascade, ring, known, admission, intake, picture, canary
    )


@dataclass(frozen=True, slots=True)
class Decisions:
    """From predictions to decisions, with the journal and all that operators may order."""

    journal: Journal | JournalKeeper
    standing: SnapshotTracker
    exchange: EngineExchange
    coils: CoilManager
    alarm_orders: AlarmOrders
    totals: Totals
    crops: DefectCrops | None
    picture: NewestPictureMaker
    stage: DecisionStage
    begun: Unfinished | None  # the coil that goes on over a restart
    wall_clock: WallClock
    disks: DiskMonitor


def open_decisions(
    stack: ExitStack,
    settings: ServiceSettings,
    clock: Clock,
    runner: Runner,
    inspection: Inspection,
    *,
    camera: Camera,
    recorded: bool,
    reread: Callable[[], ServiceSettings] | None,
) -> Decisions:
    """Open the journal, and prepare the decision and what takes orders about engines, coils and alarms."""
    live = camera.live
    with told_while_slow(f"the disk of the journal in {settings.journal.dir}"):
        keeper = stack.enter_context(JournalKeeper(settings.journal, clock.now_ns)) if live else None
        journal = keeper.journal if keeper else stack.enter_context(Journal(settings.journal, clock.now_ns))
    log_recovery(journal.recovery)
    pool, cascade, recipes = inspection.pool, inspection.cascade, inspection.recipes
    standing = SnapshotTracker(
        journal.epoch, statuses_of(pool, cascade.lineup), journal.retained_alarms(), lambda: journal.identity
    )

    def announce(lineup: Lineup) -> None:
        recipes.use(lineup.serial, lineup.engines)
        standing.set_engines(statuses_of(pool, lineup))

    def use_lineup(lineup: Lineup) -> None:
        announce(lineup)
        runner.hand(FRAMES, partial(cascade.use, lineup))

    totals = Totals()
    exchange = EngineExchange(
        pool,
        cascade,
        inspection.backends,
        inspection.backend,
        settings.inference,
        use_lineup,
        announce,
        lambda: totals.lost_lines,
    )
    stack.callback(exchange.close)
    exchange.prepare({one.name: one.engines for one in settings.recipe}, wait=not live)

    def recipe_trouble() -> str | None:
        return exchange.trouble

    earlier = EarlierRuns()
    if not recorded:
        with told_while_slow("what the journal holds of the coil of before"):
            earlier = earlier_runs(journal, recipes, inspection.admission.calibrated.columns, clock.now_ns())
    account, known = inspection.admission.coils, inspection.coil_data
    keep = partial(keeper.also, wait=True) if keeper else None
    coils = CoilManager(settings, journal.epoch, account, known, recipes, recorded, reread, recipe_trouble, keep)
    orders = AlarmOrders(map(alarm_body_of, journal.commanded()), partial(runner.hand, PREDICTIONS))
    watched = settings.system_alarms.disks
    disks = stack.enter_context(DiskMonitor(partial(measure_disks, settings.journal.dir, watched), clock))

    def silent_s() -> float:
        return camera.silent_s if isinstance(camera, LastingCamera) else runner.health.ages_s()[CAPTURE.name]

    def camera_away() -> str:
        life = camera.life if isinstance(camera, LastingCamera) else None
        return str(life) if life is not None and life.state is not CameraState.OPEN else ""

    wall_clock = WallClock()
    host = HostMonitor(
        clock,
        disks.fullest,
        silent_s,
        lambda: exchange.backend,
        recipe_trouble,
        lambda: exchange.withdrawn,
        lambda: keeper.state.why if keeper else None,
        lambda: inspection.admission.counts.gap,
        camera_away,
        wall_clock,
        live=live,
    )
    alarms = [alarm_from(body) for body in standing.retained_alarms]
    begun, rules = earlier.unfinished, recipes.newest
    if begun is not None:
        rules = recipes.for_coil(begun.coil.conditions.data, between=begun.coil.conditions.between)
        inspection.admission.resume(begun.last)
        coils.go_on((*earlier.names, begun.point.coil), between=begun.point.between)
    else:
        account.take_names(earlier.names)
    state = resumed(begun.coil if begun else None, alarms, earlier.names, rules)
    if state.coil is not None:
        standing.go_on(coil_body(so_far(state.coil)))
        totals.coil, totals.along_mm = state.coil.coil, state.coil.end_mm
    passage = begun.point.passage if begun else None
    crops = DefectCrops(settings.crops, passage) if settings.crops else None
    picture = NewestPictureMaker(clock)
    stage = DecisionStage(
        state,
        recipes,
        inspection.ring.release,
        totals,
        clock,
        orders,
        host.read,
        crops,
        lambda: runner.pausing,
        picture,
    )
    return Decisions(
        keeper or journal, standing, exchange, coils, orders, totals, crops, picture, stage, begun, wall_clock, disks
    )


@dataclass(frozen=True, slots=True)
class Wire:
    """What publishes decisions, and the sockets that answer consumers and operators."""

    publisher: Publisher
    outlet: Outlet
    server: Server
    commands: CommandServer | None
    frame_times: FrameTimes
    figures: ServiceFigures


def open_wire(
    stack: ExitStack,
    settings: ServiceSettings,
    camera: Camera,
    clock: Clock,
    runner: Runner,
    inspection: Inspection,
    decisions: Decisions,
    keys: ServerKeys | None,
    verdicts: Path | None,
) -> Wire:
    """Open the verdict file, and prepare the sockets, which their stages bind."""
    journal, standing, exchange = decisions.journal, decisions.standing, decisions.exchange
    begun = decisions.begun
    context = stack.enter_context(zmq.Context())
    keeper = journal if isinstance(journal, JournalKeeper) else None

    def keep_aside(task: Callable[[], None]) -> None:
        assert keeper is not None
        keeper.also(task)

    coil_data = stack.enter_context(
        CoilDataRecorder(settings.journal.dir, journal.epoch, keep_aside if keeper else None)
    )
    publisher = Publisher(context, settings.wire, keys)
    frame_times = FrameTimes()
    untold, bridges = UntoldDecisions(decisions.totals), Bridges()
    status = StatusReport(
        runner,
        decisions.totals,
        inspection.ring,
        standing,
        exchange,
        inspection.workload,
        clock,
        inspection.admission.counts,
        settings.source.position_source if settings.source else PositionSource.LINE_RATE,
        decisions.coils.status,
        decisions.crops,
        untold,
        keeper,
        inspection.canary,
        inspection.recipes,
        inspection.picture,
        inspection.admission.calibrated,
        camera,
        decisions.wall_clock,
        settings.inference.deadline_ms,
        decisions.disks.disks,
        settings.system_alarms.disk_free_below_mb,
        bridges,
        started_ns=clock.now_ns(),
    )
    traces = stack.enter_context(traced(settings.tracing, settings.line.camera))
    outlet = Outlet(
        journal,
        Sequencer(journal.epoch, inspection.recipes.files.identity, begun.point.passage if begun else None),
        publisher,
        standing,
        status,
        status.bare,
        clock,
        decisions.alarm_orders.settle,
        coil_data,
        decisions.crops,
        stack.enter_context(VerdictFile(verdicts)) if verdicts else None,
        untold,
        RestartPoints(begun.point if begun else None),
        frame_times,
        heartbeat_ns=int(1e9 / settings.wire.heartbeat_hz),
        next_heartbeat_ns=clock.now_ns(),
        traces=traces,
    )
    figures = ServiceFigures(
        "run",
        status,
        decisions.totals,
        standing,
        frame_times,
        decisions.journal.sync_times,
        inspection.pool.batch_times,
        traces,
    )
    server = Server(context, settings.wire, keys, journal, standing.snapshot, bridges, decisions.picture.newest)
    commands = None
    if settings.wire.commands:
        role = settings.wire.role_without_keys
        commands = CommandServer(
            context,
            settings.wire.commands,
            keys,
            exchange,
            decisions.alarm_orders,
            decisions.coils,
            role_without_keys=role,
            trial=TrialView(exchange, settings.inference.engines_dir, clock),
            audit=AuditTrail(settings.journal.dir / "audit", keep_aside) if keeper else None,
        )
    return Wire(publisher, outlet, server, commands, frame_times, figures)


def _backends(settings: InferenceSettings, camera: Camera) -> tuple[Backend, ...]:
    """Open the configured backend; for a live camera, which cannot wait, also those that may serve in its place."""
    if not camera.live:
        return (open_backend(settings.backend, settings),)
    backends, errors = open_backends((settings.backend, *settings.fallback), settings)
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
