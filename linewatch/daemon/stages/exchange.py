"""Changes engines while the service runs: tries one beside the running one, promotes or drops it; moves all
engines to their backend when it is ready, and to another one when it is lost; goes back from a promoted engine that
fails, or when that is ordered.

The work waits for a thread of its own, since loading takes seconds and building a plan minutes. An engine on trial is
loaded and run in a process of its own (`inference.trial`), and here once it is promoted. Frames never wait: the cascade
takes a new line-up between two of them.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue

import structlog

from linewatch.config.recipe import RecipeEngines
from linewatch.contracts.errors import EngineError, LinewatchError
from linewatch.contracts.manifest import Task
from linewatch.contracts.ports import Backend
from linewatch.contracts.tile import Batch
from linewatch.daemon.stages.promotion import BACK_AFTER, Probation, Promotion, speaks_against
from linewatch.daemon.stages.recipe_engines import (
    LoadedEngine,
    LoadedEngines,
    load_recipe_engines,
    ready_at_once,
)
from linewatch.inference.cascade import Cascade
from linewatch.inference.engines import Engine, EngineSet, best_sibling, find_engine
from linewatch.inference.lineup import Lineup
from linewatch.inference.pool import EnginePool
from linewatch.inference.reference_tiles import lacking
from linewatch.inference.settings import InferenceSettings
from linewatch.inference.shadow import Shadow
from linewatch.inference.trial import EngineTrial
from linewatch.wire.schema import (
    BackendState,
    BackendStatus,
    BesideState,
    EngineAction,
    EngineBeside,
    EngineCommand,
    EngineStatus,
)

log = structlog.get_logger()


def statuses_of(pool: EnginePool, lineup: Lineup) -> tuple[EngineStatus, ...]:
    """Return the identity of each engine of a line-up."""
    return tuple(
        EngineStatus(role=task.value, identity=pool.identity(task, generation))
        for task, generation in lineup.generations.items()
    )


class EngineExchange:
    """`work` is for one thread, `recipe_lineup` for the cascade's, all else for any."""

    def __init__(
        self,
        pool: EnginePool,
        cascade: Cascade,
        backends: Sequence[Backend],
        serving: Backend,
        settings: InferenceSettings,
        use_lineup: Callable[[Lineup], None],
        announce: Callable[[Lineup], None],
        lost_lines: Callable[[], tuple[int, int]] = lambda: (0, 0),
    ) -> None:
        """backends: by preference; the pool's engines run on `serving`. use_lineup: have a line-up inspect the frames
        to come, and `announce` it. announce: have frames that it inspected decided by its engines' thresholds.
        lost_lines: how many lines were lost by the inspection itself so far, and how many passed.
        """
        self._pool, self._cascade, self._settings = pool, cascade, settings
        self._backends, self._backend = tuple(backends), serving
        self._lost: set[Backend] = set()
        self._why: str | None = None  # why it is not the first of the backends
        self._use_lineup, self._announce = use_lineup, announce
        self._changing = threading.Lock()  # of the line-up
        self._lineup = cascade.lineup
        self._default = self._loaded_engines_of(self._lineup)
        self._recipe: str | None = None
        self._wanted: dict[str, RecipeEngines] = {}
        self._of_recipes: dict[str, LoadedEngines] = {}
        self.trouble: str | None = None  # a recipe's engine that cannot be used
        self._waiting: SimpleQueue[tuple[str, Callable[[], None]]] = SimpleQueue()
        self._trial: EngineTrial | None = None
        self._probation = Probation(lost_lines)
        self._promotion: Promotion | None = None
        self._counting = threading.Lock()  # of failures
        self.withdrawn: str | None = None  # why a promoted engine inspects no longer
        self._retired: list[tuple[int, Task, int]] = []  # needed by line-ups before this serial
        self._loads = 0
        self._state: EngineBeside | None = None
        if serving is not self._backends[0]:
            self._waiting.put((self._backends[0].name, partial(self._move, self._backends[0])))

    def prepare(self, wanted: Mapping[str, RecipeEngines], *, wait: bool) -> None:
        """Load the engines that recipes name. wanted: by recipe. wait: also where a plan must be built first, which
        takes minutes; otherwise those come later. `trouble` says which cannot be loaded; the default's stay in place.
        """
        self._wanted = {name: engines for name, engines in wanted.items() if engines.names}
        if not self._wanted:
            return
        if wait or ready_at_once(self._wanted, self._settings, self._backend):
            self._load_recipes(self._backend)
        else:
            self._waiting.put(("recipes", lambda: None if self._of_recipes else self._load_recipes(self._backend)))

    def recipe_lineup(self, recipe: str | None) -> Lineup | None:
        """Return the line-up for a coil of this recipe, from its first frame on; None: it stays the present one.

        To be called at a coil's beginning only.
        """
        if not self._wanted:
            return None
        with self._changing:
            self._recipe = recipe
            lineup = self._recipe_lineup()
            if lineup is not None:
                self._announce(lineup)
                self._lineup = lineup
            return lineup

    @property
    def backend(self) -> BackendStatus:
        """The backend that the engines run on."""
        first = self._backends[0]
        if self._backend in self._lost or first in self._lost:
            state = BackendState.LOST
        else:
            state = BackendState.SERVING if self._backend is first else BackendState.PREPARING
        return BackendStatus(name=self._backend.name, state=state, text=self._why)

    def lose(self, batch: Batch, why: str) -> None:
        """Move all engines to the next backend, since the engine that was to run `batch` cannot run any more.

        Do nothing if that engine is a shadow, which decides nothing.
        """
        if self._lineup.generations[Task(batch.engine)] != batch.generation:
            return
        if self._promotion is not None and self._promotion.concerns(batch):
            return  # the engine is at fault sooner than the backend: `failed` goes back
        self._waiting.put((self._backend.name, partial(self._leave, self._backend, why)))

    def failed(self, batch: Batch, why: str) -> None:
        """Go back to the engine before a promoted one that has failed, or answered badly, `BACK_AFTER` times.

        At once, on the calling thread, since loading another engine may occupy `work` for minutes.
        """
        promotion = self._promotion
        if promotion is None or not promotion.concerns(batch):
            return
        with self._counting:
            promotion.failures += 1
            enough = promotion.failures == BACK_AFTER
        if enough:
            self._go_back(promotion, f"failed {BACK_AFTER} times", why)

    @property
    def engines(self) -> tuple[EngineStatus, ...]:
        """The engines that inspect the next frame."""
        return statuses_of(self._pool, self._lineup)

    @property
    def beside(self) -> EngineBeside | None:
        """The engine beside the running ones, if there is one, and how far it agrees with the one of its task."""
        state, shadow = self._state, self._lineup.shadow
        if state is None or shadow is None or state.state is not BesideState.COMPARED:
            return state
        agreement = shadow.agreement
        return state.model_copy(
            update={
                "tiles": agreement.tiles,
                "agreed": agreement.agreed,
                "running_only": agreement.running_only,
                "shadow_only": agreement.shadow_only,
                "failed": agreement.failed,
            }
        )

    @property
    def shadow(self) -> Shadow | None:
        """The engine on trial that is compared with a running one."""
        return self._lineup.shadow

    @property
    def back_to(self) -> str | None:
        """Name of the engine that a rollback brings back; None: there is none."""
        promotion = self._promotion
        return None if promotion is None else promotion.before[0].manifest.name

    def command(self, command: EngineCommand) -> str | None:
        """Accept a command, which is carried out later; return why it is refused, or None."""
        if (why := self._refusal(command)) is not None:
            return why
        state, promotion = self._state, self._promotion
        if command.action is EngineAction.SHOW or (command.action is EngineAction.DROP and state is None):
            return None  # there is nothing to do
        if command.action is EngineAction.ROLLBACK:
            if promotion is not None:  # an engine on trial stays
                self._waiting.put((promotion.promoted[0].manifest.name, partial(self._roll_back, promotion)))
            return None
        if command.action is EngineAction.LOAD:
            self._state, self.withdrawn = EngineBeside(name=command.name, state=BesideState.LOADING), None
        steps: dict[EngineAction, Callable[[], None]] = {
            EngineAction.LOAD: partial(self._load, command.name, command.shadow),
            EngineAction.PROMOTE: self._promote,
            EngineAction.DROP: self._drop,
        }
        self._waiting.put((command.name or (state.name if state else ""), partial(self._step, steps[command.action])))
        return None

    def _refusal(self, command: EngineCommand) -> str | None:
        state = self._state
        if command.action is EngineAction.LOAD and state is not None and state.state is not BesideState.FAILED:
            return f"engine {state.name} is on trial already; promote or drop it first"
        if command.action is EngineAction.ROLLBACK and self._promotion is None:
            return (
                "no engine to go back to: none was promoted since the engines were last exchanged; [inference] of the "
                "configuration names those that a start loads"
            )
        if command.action is not EngineAction.PROMOTE:
            return None
        if state is None or state.state not in (BesideState.READY, BesideState.COMPARED):
            why = (
                f": {state.text}"
                if state is not None and state.text
                else "; load one, and wait until the status says so"
            )
            return f"no engine on trial is ready{why}"
        return self._fault_beside()

    def work(self, timeout_s: float) -> None:
        """Do the next piece of work, if one comes in time; else close engines that no frame needs any more.

        Never raises: whatever goes wrong with an engine that is loaded or closed, the running ones inspect the strip.
        """
        name = ""
        try:
            name, step = self._waiting.get(timeout=timeout_s)
            step()
        except Empty:
            with suppress(LinewatchError):  # the device may be gone
                self._close_retired()
                self._judge_second()
        except LinewatchError as error:
            log.error("engine_refused", name=name, error=str(error))
        except Exception:
            log.exception("engine_refused", name=name)

    def _fault_beside(self) -> str | None:
        """Return why the engine on trial must not be promoted; None: nothing is known against it."""
        trial = self._trial
        if trial is None or trial.tried is None:
            return None
        tiles_each = self._cascade.tiles_seen(trial.tried.manifest.task) / self._pool.workers
        return speaks_against(trial.name, trial.tried, self._lineup.shadow, tiles_each, self._settings.deadline_ms)

    def _judge_second(self) -> None:
        """Go back from an engine under which a whole second was bad, soon after it was promoted."""
        promotion = self._promotion
        if (why := self._probation.fault(promotion)) is not None and promotion is not None:
            self._go_back(promotion, "lost most of the strip", why)

    def _step(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            name = self._state.name if self._state else ""
            self._drop()
            self._state = EngineBeside(name=name, state=BesideState.FAILED, text=str(error))
            raise

    def _move(self, backend: Backend) -> None:
        """Move all engines to another backend; on an error they stay where they are, and it is raised."""
        self._why = f"engines are being made ready on {backend.name}"
        self._loads += 1
        loaded: list[Task] = []
        try:
            engines = self._for(backend)
            for task, engine in engines.by_task().items():
                self._pool.load(engine, self._loads, backend)
                loaded.append(task)
        except LinewatchError as error:
            for task in loaded:
                self._pool.drop(task, self._loads)
            self._lost.add(backend)
            self._why = str(error)
            raise
        with self._changing:
            before = [self._default, *self._of_recipes.values()]
            self._of_recipes = {}  # they run on the old backend
            self._default = {task: (engine, self._loads) for task, engine in engines.by_task().items()}
            self._change_lineup(self._lineup.on_backend(engines, self._loads))
            self._end_promotion()
            self._retire(before)
        self._backend = backend
        self._load_recipes(backend)
        if backend is self._backends[0]:
            self._why = None
        log.info("engines_moved", backend=backend.name, identities=[engine.identity for engine in self.engines])

    def _for(self, backend: Backend) -> EngineSet:
        """Return the running engines as this backend runs them best: INT8 siblings, or what those were made of."""
        endings = backend.siblings if self._settings.precision == "int8" else ()
        found = {}
        for task, (engine, _) in self._default.items():
            made_of = engine.manifest.quantisation
            source = self._find(made_of.source) if made_of else engine
            found[task.value] = best_sibling(source, endings, self._settings.trusted_signers)
        return EngineSet(**found)

    def _find(self, name: str) -> Engine:
        return find_engine(self._settings.engines_dir, name, self._settings.trusted_signers)

    def _leave(self, backend: Backend, why: str) -> None:
        if backend is not self._backend:
            return  # the engines moved already
        self._lost.add(backend)
        log.error("backend_lost", backend=backend.name, error=why)
        for other in self._backends:
            if other not in self._lost:
                with suppress(LinewatchError):  # then that one is lost as well
                    self._move(other)
                    break
        self._why = f"{backend.name} is lost: {why}"

    def _load(self, name: str, shadow: bool) -> None:
        def told(trial: EngineTrial) -> None:
            self._waiting.put((name, partial(self._step, partial(self._tried, trial, shadow))))

        running = {task.value: engine.manifest.name for task, engine in self._lineup.engines.by_task().items()}
        self._trial = EngineTrial(name, running, self._backend.name, self._settings, told)
        self._trial.start()

    def _tried(self, trial: EngineTrial, shadow: bool) -> None:
        """Take what a trial tells: its engine is loaded, or it has ended."""
        if trial is not self._trial:
            return  # it was dropped
        if trial.fault is not None or trial.tried is None:
            raise EngineError(trial.fault or f"engine {trial.name}: was not loaded")
        manifest, identity = trial.tried.manifest, trial.tried.identity
        engine = Engine(manifest, self._settings.engines_dir / trial.name, b"")
        self._lineup.admit(engine)
        if not trial.tried.has_reference:
            log.warning("engine_without_reference", engine=manifest.name, text=lacking(manifest))
        if shadow:
            with self._changing:
                self._change_lineup(self._lineup.with_shadow(self._shadow(engine, trial, self._lineup.engines)))
        else:
            trial.stop()
        self._state = EngineBeside(
            name=trial.name,
            role=manifest.task.value,
            identity=identity,
            state=BesideState.COMPARED if shadow else BesideState.READY,
        )
        log.info("engine_loaded", engine=trial.name, identity=identity, shadow=shadow)

    def _promote(self) -> None:
        trial = self._trial
        if trial is None or trial.tried is None:
            return
        if fault := self._fault_beside():
            raise EngineError(fault)
        engine = self._find(trial.name)
        if engine.manifest != trial.tried.manifest:
            raise EngineError(f"engine {trial.name}: its files were changed while it was on trial; load it again")
        task = engine.manifest.task
        self._loads += 1
        generation = self._loads
        self._pool.load(engine, generation, self._backend)
        with self._changing:
            before, self._default = self._default, {**self._default, task: (engine, generation)}
            self._change_lineup(self._lineup.with_promoted(engine, generation))
            self._end_promotion()
            self._promotion = Promotion((engine, generation), before[task], time.monotonic())
        trial.stop()
        self._trial = self._state = None
        log.info("engine_promoted", engine=engine.manifest.name, identity=self._pool.identity(task, generation))

    def _roll_back(self, promotion: Promotion) -> None:
        """Have the engine before a promoted one inspect again, since somebody ordered it."""
        if self._replace_promoted(promotion):
            name, back_to = promotion.promoted[0].manifest.name, promotion.before[0].manifest.name
            log.info("engine_rolled_back", engine=name, back_to=back_to)

    def _go_back(self, promotion: Promotion, what: str, why: str) -> None:
        """Have the engine before a promoted one inspect again. what: it did, as the reason is told."""
        engine, generation = promotion.promoted
        identity = self._pool.identity(promotion.task, generation)
        if not self._replace_promoted(promotion):
            return
        name, before = engine.manifest.name, promotion.before[0].manifest.name
        self.withdrawn = f"engine {name} {what} since it was promoted, {before} runs again: {why}"
        if self._state is None:
            self._state = EngineBeside(
                name=name, role=promotion.task.value, identity=identity, state=BesideState.FAILED, text=self.withdrawn
            )
        log.error("engine_withdrawn", engine=name, back_to=before, error=why)

    def _replace_promoted(self, promotion: Promotion) -> bool:
        """Have the engine before a promoted one inspect again; return False where the engines have changed since."""
        task, (_, generation), back_to = promotion.task, promotion.promoted, promotion.before
        with self._changing:
            if self._promotion is not promotion:
                return False
            self._default = {**self._default, task: back_to}
            lineup = self._lineup
            if lineup.generations[task] == generation:
                engines = replace(lineup.engines, **{task.value: back_to[0]})
                shadow = lineup.shadow
                if shadow is not None and self._trial is not None:  # it is compared with the engine that runs
                    shadow = self._shadow(shadow.engine, self._trial, engines)
                self._change_lineup(lineup.with_engines(engines, {**lineup.generations, task: back_to[1]}, shadow))
            self._promotion = None
            self._retire([{task: promotion.promoted}])
        return True

    def _end_promotion(self) -> None:
        """Close the engine before the newest promotion: it can no longer take over."""
        if self._promotion is not None:
            self._retire([{self._promotion.task: self._promotion.before}])
            self._promotion = None

    def _drop(self) -> None:
        self.withdrawn = None
        if self._trial is not None:
            trial, self._trial = self._trial, None
            trial.stop()
            if self._lineup.shadow is not None:
                with self._changing:
                    self._change_lineup(self._lineup.with_shadow(None))
            log.info("engine_dropped", engine=trial.name)
        self._state = None

    def _load_recipes(self, backend: Backend) -> None:
        """Load each recipe's engines on this backend. Never raises: in place of one that fails the default's stays."""

        def load(engine: Engine) -> LoadedEngine:
            self._lineup.admit(engine)
            self._loads += 1
            self._pool.load(engine, self._loads, backend)
            return engine, self._loads

        of_recipes, trouble = load_recipe_engines(self._wanted, self._settings, backend, load)
        with self._changing:
            self._of_recipes, self.trouble = of_recipes, trouble

    def _recipe_lineup(self) -> Lineup | None:
        """Return the line-up for the present recipe; None if it is the present line-up."""
        loaded = {**self._default, **self._of_recipes.get(self._recipe or "", {})}
        if loaded == self._loaded_engines_of(self._lineup):
            return None
        engines = EngineSet(**{task.value: engine for task, (engine, _) in loaded.items()})
        shadow = self._lineup.shadow
        if shadow is not None and self._trial is not None:  # it is compared with the engine that runs
            shadow = self._shadow(shadow.engine, self._trial, engines)
        return self._lineup.with_engines(
            engines, {task: generation for task, (_, generation) in loaded.items()}, shadow
        )

    def _shadow(self, engine: Engine, trial: EngineTrial, running: EngineSet) -> Shadow:
        return Shadow(engine, running.by_task()[engine.manifest.task], self._settings.screen_threshold, trial)

    def close(self) -> None:
        """End a trial, since the service ends."""
        if self._trial is not None:
            self._trial.stop()

    def _loaded_engines_of(self, lineup: Lineup) -> LoadedEngines:
        return {task: (engine, lineup.generations[task]) for task, engine in lineup.engines.by_task().items()}

    def _retire(self, loaded: Iterable[LoadedEngines]) -> None:
        """Have these closed once no frame needs them any more."""
        gone = {(task, generation) for one in loaded for task, (_, generation) in one.items()}
        self._retired += [(self._lineup.serial, task, generation) for task, generation in sorted(gone)]

    def _change_lineup(self, lineup: Lineup) -> None:
        self._use_lineup(lineup)
        self._lineup = lineup

    def _close_retired(self) -> None:
        for serial, task, generation in tuple(self._retired):
            if self._cascade.oldest_lineup >= serial:
                self._retired.remove((serial, task, generation))
                self._pool.drop(task, generation)
