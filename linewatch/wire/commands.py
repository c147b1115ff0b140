"""The command socket: commands of operators and engineers to the running service."""

from collections.abc import Callable
from types import TracebackType
from typing import Protocol

import zmq

from linewatch.contracts.access import Caller, Role
from linewatch.contracts.record import Record
from linewatch.wire.access.audit import AuditTrail, facts_of, log_command
from linewatch.wire.access.server_keys import ServerKeys
from linewatch.wire.roles import least_role
from linewatch.wire.router import Answer, PendingAnswer, Router, refusal
from linewatch.wire.schema import (
    COMMAND,
    SCHEMA_VERSION,
    AlarmBody,
    AlarmReply,
    AlarmRequest,
    CoilReply,
    CoilRequest,
    Command,
    DisagreementsReply,
    DisagreementsRequest,
    EngineBeside,
    EngineCommand,
    EngineReply,
    EngineStatus,
    ErrorCode,
    ErrorReply,
    Message,
    RulesReply,
    RulesRequest,
)


class EngineCommandHandler(Protocol):
    """Carries out commands about engines. `command` returns why one is refused, or None."""

    @property
    def engines(self) -> tuple[EngineStatus, ...]: ...
    @property
    def beside(self) -> EngineBeside | None: ...
    def command(self, command: EngineCommand) -> str | None: ...


class EngineTrialView(Protocol):
    """What an engineer looks at before an engine is promoted."""

    @property
    def available(self) -> tuple[str, ...]: ...
    @property
    def back_to(self) -> str | None: ...
    def disagreements(self, request_id: int) -> tuple[DisagreementsReply, list[bytes]]: ...


class AlarmCommandOutcome(Protocol):
    """The outcome of a command about alarms. refused, changed: valid once `done`."""

    @property
    def done(self) -> bool: ...
    @property
    def refused(self) -> str | None: ...
    @property
    def changed(self) -> list[AlarmBody]: ...


class AlarmCommandHandler(Protocol):
    """Carries out commands about alarms."""

    def take(self, request: AlarmRequest, caller: Caller) -> AlarmCommandOutcome: ...


PendingCoilReply = Callable[[], CoilReply | str | None]
"""Returns the outcome of a command about a coil, once it is known."""


class CoilCommandHandler(Protocol):
    """Carries out commands about coils and rules. A returned text says why a command is refused."""

    def take(self, request: CoilRequest, caller: Caller) -> CoilReply | str | PendingCoilReply: ...
    def reload(self, request: RulesRequest, caller: Caller) -> RulesReply | str: ...


class CommandServer(Router[Command]):
    """Answers commands and audits them, except accepted ones that only show something.

    The reply comes when an engine command is accepted, when an alarm command's transitions are on disk, when a coil
    command is on disk, when the rules are in force. With keys, clients can connect once the `Server` of the same
    context runs.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        keys: ServerKeys | None,
        engines: EngineCommandHandler,
        alarms: AlarmCommandHandler,
        coils: CoilCommandHandler,
        *,
        role_without_keys: Role = Role.OPERATOR,
        trial: EngineTrialView | None = None,
        audit: AuditTrail | None = None,
    ) -> None:
        """trial: None: there are no engines. audit: where commands are kept; None: they are logged only."""
        super().__init__(
            context,
            endpoint,
            keys,
            setting="commands",
            requests=COMMAND,
            role_without_keys=role_without_keys,
        )
        self._engines, self._trial = engines, trial
        self._alarms = alarms
        self._coils = coils
        self._audit = audit

    def poll(self, timeout_ms: int) -> int:
        if self._audit is not None:
            self._audit.write_sums()
        return super().poll(timeout_ms)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._audit is not None:
            self._audit.close()

    def least_role(self, request: Command) -> Role:
        return least_role(request)

    def answered(self, caller: Caller, peer: str, request: Command | None, reply: Message) -> None:
        shown = request is not None and self.least_role(request) is Role.OBSERVER
        if not shown or isinstance(reply, ErrorReply):
            facts = facts_of(caller, peer, request, reply)
            log_command(facts)
            if self._audit is not None:
                self._audit.take(facts)

    def answer(self, request: Command, caller: Caller) -> Answer | PendingAnswer:
        if isinstance(request, AlarmRequest):
            outcome = self._alarms.take(request, caller)
            return lambda: _alarm_answer(request, outcome) if outcome.done else None
        if isinstance(request, CoilRequest):
            taken = self._coils.take(request, caller)
            if callable(taken):
                return lambda: None if (reply := taken()) is None else _coil_answer(request, reply)
            return _coil_answer(request, taken)
        if isinstance(request, RulesRequest):
            return _coil_answer(request, self._coils.reload(request, caller))
        return self._disagreements(request) if isinstance(request, DisagreementsRequest) else self._engine(request)

    def _engine(self, request: EngineCommand) -> Answer:
        refused = self._engines.command(request)
        if refused is not None:
            return refusal(request.id, ErrorCode.REFUSED, refused)
        return EngineReply(
            schema_version=SCHEMA_VERSION,
            reply="engine",
            id=request.id,
            engines=self._engines.engines,
            beside=self._engines.beside,
            available=self._trial.available if self._trial is not None else (),
            back_to=self._trial.back_to if self._trial is not None else None,
        ), ()

    def _disagreements(self, request: DisagreementsRequest) -> Answer:
        if self._trial is None:
            return refusal(request.id, ErrorCode.REFUSED, "this process has no engines; ask the service of a camera")
        reply, pictures = self._trial.disagreements(request.id)
        return reply, [Record(0, "picture", number, b"", picture) for number, picture in enumerate(pictures)]


def _coil_answer(request: CoilRequest | RulesRequest, reply: CoilReply | RulesReply | str) -> Answer:
    return refusal(request.id, ErrorCode.REFUSED, reply) if isinstance(reply, str) else (reply, ())


def _alarm_answer(request: AlarmRequest, outcome: AlarmCommandOutcome) -> Answer:
    if outcome.refused is not None:
        return refusal(request.id, ErrorCode.REFUSED, outcome.refused)
    return AlarmReply(
        schema_version=SCHEMA_VERSION,
        reply="alarm",
        id=request.id,
        token=request.token,
        changed=tuple(outcome.changed),
    ), ()
