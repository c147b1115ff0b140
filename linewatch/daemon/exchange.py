"""Engines change while the service runs: one is loaded beside the running one, compared, promoted or dropped.

Commands come on the command socket's thread and wait here; loading takes seconds, building a plan minutes, so a thread
of its own does what they ask. Frames never wait: the cascade takes a new line-up between two of them.
"""

from collections.abc import Callable
from queue import Empty, SimpleQueue

import structlog

from linewatch.config.inference import InferenceSettings
from linewatch.contracts.errors import LinewatchError
from linewatch.contracts.manifest import Task
from linewatch.contracts.ports import Backend
from linewatch.inference.cascade import Cascade
from linewatch.inference.engines import Engine, find_engine
from linewatch.inference.lineup import Lineup
from linewatch.inference.pool import EnginePool
from linewatch.inference.shadow import Shadow
from linewatch.wire.schema import BesideState, EngineAction, EngineBeside, EngineCommand, EngineStatus

log = structlog.get_logger()


def running(pool: EnginePool, lineup: Lineup) -> tuple[EngineStatus, ...]:
    """The engines of a line-up by their identities."""
    return tuple(
        EngineStatus(role=task.value, identity=pool.identity(task, generation))
        for task, generation in lineup.generations.items()
    )


class Exchange:
    """`command` and `status` may be called by any thread, `work` by one."""

    def __init__(
        self,
        pool: EnginePool,
        cascade: Cascade,
        backend: Backend,
        settings: InferenceSettings,
        take_up: Callable[[Lineup], None],
    ) -> None:
        """take_up: have a line-up look at the frames to come, and its engines' thresholds decide of them."""
        self._pool, self._cascade, self._backend, self._settings = pool, cascade, backend, settings
        self._hand_on = take_up
        self._lineup = cascade.lineup
        self._waiting: SimpleQueue[EngineCommand] = SimpleQueue()
        self._beside: tuple[Engine, int] | None = None
        self._retired: list[tuple[int, Task, int]] = []  # needed by line-ups before this serial
        self._loads = 0
        self._state: EngineBeside | None = None

    @property
    def engines(self) -> tuple[EngineStatus, ...]:
        """The engines that decide of the next frame."""
        return running(self._pool, self._lineup)

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
        self._waiting.put(command)
        return None

    def work(self, timeout_s: float) -> None:
        """Carry out the next command, if one comes in time; close engines that no frame needs any more."""
        try:
            command = self._waiting.get(timeout=timeout_s)
        except Empty:
            self._close_retired()
            return
        try:
            if command.action is EngineAction.LOAD:
                self._load(command.name, command.shadow)
            elif command.action is EngineAction.PROMOTE:
                self._promote()
            else:
                self._drop()
        except LinewatchError as error:
            name = self._state.name if self._state else command.name
            log.error("engine_refused", engine=name, action=command.action.value, error=str(error))
            self._drop()
            self._state = EngineBeside(name=name, state=BesideState.FAILED, text=str(error))

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
                self._pool.drop(task, generation)
                self._retired.remove((serial, task, generation))
