"""Engines change while the service runs: one is loaded beside the running one, compared, promoted or dropped; all of
them move to the backend that they should run on when it is ready, and to another one when it is lost.

What is to be done waits here for a thread of its own, since loading takes seconds and building a plan minutes. Frames
never wait: the cascade takes a new line-up between two of them.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue

import structlog

from linewatch.config.inference import InferenceSettings
from linewatch.contracts.errors import LinewatchError
from linewatch.contracts.manifest import Task
from linewatch.contracts.ports import Backend
from linewatch.contracts.tile import Batch
from linewatch.inference.cascade import Cascade
from linewatch.inference.engines import Engine, EngineSet, best_sibling, find_engine
from linewatch.inference.lineup import Lineup
from linewatch.inference.pool import EnginePool
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
    ) -> None:
        """backends: by preference; the pool's engines run on `serving`. take_up: have a line-up look at the frames to
        come, and its engines' thresholds decide of them.
        """
        self._pool, self._cascade, self._settings = pool, cascade, settings
        self._backends, self._backend = tuple(backends), serving
        self._lost: set[Backend] = set()
        self._why: str | None = None  # it is not the first of the backends
        self._hand_on = take_up
        self._lineup = cascade.lineup
        self._waiting: SimpleQueue[tuple[str, Callable[[], None]]] = SimpleQueue()
        self._beside: tuple[Engine, int] | None = None
        self._retired: list[tuple[int, Task, int]] = []  # needed by line-ups before this serial
        self._loads = 0
        self._state: EngineBeside | None = None
        if serving is not self._backends[0]:
            self._waiting.put((self._backends[0].name, partial(self._move, self._backends[0])))

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
        before = self._lineup.generations
        self._take_up(self._lineup.moved(engines, self._loads))
        self._retired += [(self._lineup.serial, task, generation) for task, generation in before.items()]
        self._backend = backend
        if backend is self._backends[0]:
            self._why = None
        log.info("engines_moved", backend=backend.name, identities=[engine.identity for engine in self.engines])

    def _for(self, backend: Backend) -> EngineSet:
        """The running engines as this backend runs them best: an INT8 sibling, or what it was made of."""
        endings = backend.siblings if self._settings.precision == "int8" else ()
        found = {}
        for task, engine in self._lineup.engines.by_task().items():
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
            running = self._lineup.engines.by_task()[task]
            self._take_up(self._lineup.beside(Shadow(engine, self._loads, running, self._settings.screen_threshold)))
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
        before = self._lineup.generations[task]
        self._take_up(self._lineup.promoted(engine, generation))
        self._retired.append((self._lineup.serial, task, before))
        self._beside = self._state = None
        log.info("engine_promoted", engine=engine.manifest.name, identity=self._pool.identity(task, generation))

    def _drop(self) -> None:
        if self._beside is not None:
            (engine, generation), self._beside = self._beside, None
            self._take_up(self._lineup.beside(None))
            self._retired.append((self._lineup.serial, engine.manifest.task, generation))
            log.info("engine_dropped", engine=engine.manifest.name)
        self._state = None

    def _take_up(self, lineup: Lineup) -> None:
        self._hand_on(lineup)
        self._lineup = lineup

    def _close_retired(self) -> None:
        for serial, task, generation in tuple(self._retired):
            if self._cascade.oldest_lineup >= serial:
                self._retired.remove((serial, task, generation))
                self._pool.drop(task, generation)
