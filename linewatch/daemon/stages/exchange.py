"""Engines change while the service runs: one is loaded beside the running one, compared, promoted or dropped; all of
them move to the backend that they should run on when it is ready, and to another one when it is lost.

What is to be done waits here for a thread of its own, since loading takes seconds and building a plan minutes. Frames
never wait: the cascade takes a new line-up between two of them.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue

import structlog

from linewatch.config.recipe import RecipeEngines
from linewatch.contracts.errors import LinewatchError
from linewatch.contracts.manifest import Task
from linewatch.contracts.ports import Backend
from linewatch.contracts.tile import Batch
from linewatch.inference.cascade import Cascade
from linewatch.inference.engines import Engine, EngineSet, best_sibling, find_engine, load_engine
from linewatch.inference.lineup import Lineup
from linewatch.inference.pool import EnginePool
from linewatch.inference.settings import InferenceSettings
from linewatch.inference.shadow import Shadow
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

Slot = tuple[Engine, int]
"""An engine, and the number that it was loaded under."""
Slots = dict[Task, Slot]


def statuses_of(pool: EnginePool, lineup: Lineup) -> tuple[EngineStatus, ...]:
    """The engines of a line-up by their identities."""
    return tuple(
        EngineStatus(role=task.value, identity=pool.identity(task, generation))
        for task, generation in lineup.generations.items()
    )


class Exchange:
    """`command`, `lose`, `backend`, `engines` and `beside` may be called by any thread, `work` by one."""

    def __init__(
        self,
        pool: EnginePool,
        cascade: Cascade,
        backends: Sequence[Backend],
        serving: Backend,
        settings: InferenceSettings,
        take_up: Callable[[Lineup], None],
        tell: Callable[[Lineup], None],
    ) -> None:
        """backends: by preference; the pool's engines run on `serving`. take_up: have a line-up look at the frames to
        come, and its engines' thresholds decide of them. tell: only the latter, of one that looks at them already.
        """
        self._pool, self._cascade, self._settings = pool, cascade, settings
        self._backends, self._backend = tuple(backends), serving
        self._lost: set[Backend] = set()
        self._why: str | None = None  # it is not the first of the backends
        self._hand_on, self._tell = take_up, tell
        self._changing = threading.Lock()  # of the line-up
        self._lineup = cascade.lineup
        self._default = self._slots_of(self._lineup)
        self._recipe: str | None = None
        self._wanted: dict[str, RecipeEngines] = {}
        self._of_recipes: dict[str, Slots] = {}
        self.trouble: str | None = None  # a recipe's engine that cannot be used
        self._waiting: SimpleQueue[tuple[str, Callable[[], None]]] = SimpleQueue()
        self._beside: tuple[Engine, int] | None = None
        self._retired: list[tuple[int, Task, int]] = []  # needed by line-ups before this serial
        self._loads = 0
        self._state: EngineBeside | None = None
        if serving is not self._backends[0]:
            self._waiting.put((self._backends[0].name, partial(self._move, self._backends[0])))

    def prepare(self, wanted: Mapping[str, RecipeEngines], *, wait: bool) -> None:
        """Load the engines that recipes name, by recipe. Without `wait` they come later where a plan must be built
        first, which takes minutes. One that cannot be loaded is told in `trouble`; the default's stays in its place.
        """
        self._wanted = {name: engines for name, engines in wanted.items() if engines.names}
        if not self._wanted:
            return
        if wait or self._at_once():
            self._load_recipes(self._backend)
        else:
            self._waiting.put(("recipes", lambda: None if self._of_recipes else self._load_recipes(self._backend)))

    def turn(self, recipe: str | None) -> Lineup | None:
        """A coil begins that this recipe holds for: the line-up that looks at it from its first frame on; None: it is
        the one that does so already. For the thread that feeds frames, and at a coil's beginning only.
        """
        if not self._wanted:
            return None
        with self._changing:
            self._recipe = recipe
            lineup = self._turned()
            if lineup is not None:
                self._tell(lineup)
                self._lineup = lineup
            return lineup

    @property
    def backend(self) -> BackendStatus:
        """What the engines run on."""
        first = self._backends[0]
        if self._backend in self._lost or first in self._lost:
            state = BackendState.LOST
        else:
            state = BackendState.SERVING if self._backend is first else BackendState.PREPARING
        return BackendStatus(name=self._backend.name, state=state, text=self._why)

    def lose(self, batch: Batch, why: str) -> None:
        """The engine that was to run `batch` cannot run any more. If it is one that decides, have all move to the next
        backend; a shadow's trouble is its own. From any thread.
        """
        if self._lineup.generations[Task(batch.engine)] != batch.generation:
            return
        self._waiting.put((self._backend.name, partial(self._leave, self._backend, why)))

    @property
    def engines(self) -> tuple[EngineStatus, ...]:
        """The engines that decide of the next frame."""
        return statuses_of(self._pool, self._lineup)

    @property
    def beside(self) -> EngineBeside | None:
        """The engine beside them, if there is one, and how far it agrees."""
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

    def command(self, command: EngineCommand) -> str | None:
        """Take a command, which is carried out later. Why it is refused, or None."""
        state = self._state
        there = state is not None and state.state is not BesideState.FAILED
        if command.action is EngineAction.LOAD:
            if there and state is not None:
                return f"engine {state.name} is beside the running ones already; promote or drop it first"
            self._state = EngineBeside(name=command.name, state=BesideState.LOADING)
        elif command.action is EngineAction.PROMOTE and not (
            state is not None and state.state in (BesideState.READY, BesideState.COMPARED)
        ):
            return "no engine is ready beside the running ones; load one, and wait until the status says so"
        elif command.action is EngineAction.SHOW or (command.action is EngineAction.DROP and state is None):
            return None  # nothing is to be done
        steps: dict[EngineAction, Callable[[], None]] = {
            EngineAction.LOAD: partial(self._load, command.name, command.shadow),
            EngineAction.PROMOTE: self._promote,
            EngineAction.DROP: self._drop,
        }
        self._waiting.put((command.name or (state.name if state else ""), partial(self._step, steps[command.action])))
        return None

    def work(self, timeout_s: float) -> None:
        """Do the next thing, if one comes in time; close engines that no frame needs any more.

        Never raises: whatever an engine does wrong while it comes or goes, the running ones look at the strip.
        """
        name = ""
        try:
            name, step = self._waiting.get(timeout=timeout_s)
            step()
        except Empty:
            with suppress(LinewatchError):  # of a device that is gone
                self._close_retired()
        except LinewatchError as error:
            log.error("engine_refused", name=name, error=str(error))
        except Exception:
            log.exception("engine_refused", name=name)

    def _step(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            name = self._state.name if self._state else ""
            self._drop()
            self._state = EngineBeside(name=name, state=BesideState.FAILED, text=str(error))
            raise

    def _move(self, backend: Backend) -> None:
        """All engines to another backend; on EngineError they stay where they are."""
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
            self._of_recipes = {}  # they run on the backend that is left
            self._default = {task: (engine, self._loads) for task, engine in engines.by_task().items()}
            self._take_up(self._lineup.moved(engines, self._loads))
            self._retire(before)
        self._backend = backend
        self._load_recipes(backend)
        if backend is self._backends[0]:
            self._why = None
        log.info("engines_moved", backend=backend.name, identities=[engine.identity for engine in self.engines])

    def _for(self, backend: Backend) -> EngineSet:
        """The running engines as this backend runs them best: an INT8 sibling, or what it was made of."""
        endings = backend.siblings if self._settings.precision == "int8" else ()
        found = {}
        for task, (engine, _) in self._default.items():
            made_of = engine.manifest.quantisation
            source = find_engine(self._settings.engines_dir, made_of.source) if made_of else engine
            found[task.value] = best_sibling(source, endings)
        return EngineSet(**found)

    def _leave(self, backend: Backend, why: str) -> None:
        if backend is not self._backend:
            return  # it was left before
        self._lost.add(backend)
        log.error("backend_lost", backend=backend.name, error=why)
        for other in self._backends:
            if other not in self._lost:
                with suppress(LinewatchError):  # then it is lost as well, and told so in the status
                    self._move(other)
                    break
        self._why = f"{backend.name} is lost: {why}"

    def _load(self, name: str, shadow: bool) -> None:
        engine = find_engine(self._settings.engines_dir, name)
        self._lineup.admit(engine)
        self._loads += 1
        identity = self._pool.load(engine, self._loads, self._backend)
        self._beside = (engine, self._loads)
        task = engine.manifest.task
        if shadow:
            with self._changing:
                self._take_up(self._lineup.beside(self._shadow(engine, self._loads, self._lineup.engines)))
        self._state = EngineBeside(
            name=name,
            role=task.value,
            identity=identity,
            state=BesideState.COMPARED if shadow else BesideState.READY,
        )
        log.info("engine_loaded", engine=name, identity=identity, shadow=shadow)

    def _promote(self) -> None:
        if self._beside is None:
            return
        engine, generation = self._beside
        task = engine.manifest.task
        with self._changing:
            before, self._default = self._default, {**self._default, task: (engine, generation)}
            self._take_up(self._lineup.promoted(engine, generation))
            self._retire([{task: before[task]}])
        self._beside = self._state = None
        log.info("engine_promoted", engine=engine.manifest.name, identity=self._pool.identity(task, generation))

    def _drop(self) -> None:
        if self._beside is not None:
            (engine, generation), self._beside = self._beside, None
            with self._changing:
                self._take_up(self._lineup.beside(None))
                self._retire([{engine.manifest.task: (engine, generation)}])
            log.info("engine_dropped", engine=engine.manifest.name)
        self._state = None

    def _at_once(self) -> bool:
        names = {name for wanted in self._wanted.values() for name in wanted.names}
        try:
            found = [find_engine(self._settings.engines_dir, name).manifest for name in names]
        except LinewatchError:
            return True  # and why not is told at once
        return all(self._backend.ready(manifest, self._settings.ladder) for manifest in found)

    def _load_recipes(self, backend: Backend) -> None:
        """The engines of each recipe on this backend. Never raises: where one cannot be had, the default's stays."""
        endings = backend.siblings if self._settings.precision == "int8" else ()
        slots: dict[tuple[Task, str], Slot] = {}
        of_recipes: dict[str, Slots] = {}
        trouble = None
        for recipe, wanted in self._wanted.items():
            of_recipes[recipe] = {}
            for task, name in ((task, getattr(wanted, task.value)) for task in Task):
                if name is None:
                    continue
                try:
                    if (task, name) not in slots:
                        engine = best_sibling(load_engine(self._settings.engines_dir, name, task), endings)
                        self._lineup.admit(engine)
                        self._loads += 1
                        self._pool.load(engine, self._loads, backend)
                        slots[task, name] = engine, self._loads
                    of_recipes[recipe][task] = slots[task, name]
                except LinewatchError as error:
                    trouble = f"recipe {recipe}: {error}"
                    log.error("recipe_engine_refused", recipe=recipe, engine=name, error=str(error))
        with self._changing:
            self._of_recipes, self.trouble = of_recipes, trouble

    def _turned(self) -> Lineup | None:
        """The line-up for the recipe that holds, if it is another than the present one."""
        slots = {**self._default, **self._of_recipes.get(self._recipe or "", {})}
        if slots == self._slots_of(self._lineup):
            return None
        engines = EngineSet(**{task.value: engine for task, (engine, _) in slots.items()})
        shadow = self._lineup.shadow
        if shadow is not None:  # it is compared with whatever runs
            shadow = self._shadow(shadow.engine, shadow.generation, engines)
        return self._lineup.turned(engines, {task: generation for task, (_, generation) in slots.items()}, shadow)

    def _shadow(self, engine: Engine, generation: int, running: EngineSet) -> Shadow:
        return Shadow(engine, generation, running.by_task()[engine.manifest.task], self._settings.screen_threshold)

    def _slots_of(self, lineup: Lineup) -> "Slots":
        return {task: (engine, lineup.generations[task]) for task, engine in lineup.engines.by_task().items()}

    def _retire(self, slots: Iterable["Slots"]) -> None:
        """Close these when no frame needs them any more."""
        gone = {(task, generation) for one in slots for task, (_, generation) in one.items()}
        self._retired += [(self._lineup.serial, task, generation) for task, generation in sorted(gone)]

    def _take_up(self, lineup: Lineup) -> None:
        self._hand_on(lineup)
        self._lineup = lineup

    def _close_retired(self) -> None:
        for serial, task, generation in tuple(self._retired):
            if self._cascade.oldest_lineup >= serial:
                self._retired.remove((serial, task, generation))
                self._pool.drop(task, generation)
