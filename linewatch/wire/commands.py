"""The command socket: what operators and engineers on this host ask of the running service."""

from typing import Protocol

import zmq

from linewatch.wire.router import Answer, Later, Router, refusal
from linewatch.wire.schema import (
    COMMAND,
    SCHEMA_VERSION,
    AlarmBody,
    AlarmReply,
    AlarmRequest,
    CoilReply,
    CoilRequest,
    Command,
    EngineBeside,
    EngineCommand,
    EngineReply,
    EngineStatus,
    ErrorCode,
    RulesReply,
    RulesRequest,
)


class Engines(Protocol):
    """What carries the commands about engines out."""

    @property
    def engines(self) -> tuple[EngineStatus, ...]: ...
    @property
    def beside(self) -> EngineBeside | None: ...
    def command(self, command: EngineCommand) -> str | None: ...


class Outcome(Protocol):
    """What becomes of a command about alarms; refused and changed hold once it is `done`."""

    @property
    def done(self) -> bool: ...
    @property
    def refused(self) -> str | None: ...
    @property
    def changed(self) -> list[AlarmBody]: ...


class Alarms(Protocol):
    """What carries the commands about alarms out."""

    def take(self, request: AlarmRequest) -> Outcome: ...


class Coils(Protocol):
    """What carries the commands about coils and their rules out; a text says why one is refused."""

    def take(self, request: CoilRequest) -> CoilReply | str: ...
    def reload(self, request: RulesRequest) -> RulesReply | str: ...


class CommandServer(Router[Command]):
    """A command about engines is answered when it is taken, one about alarms when what it brought is on disk, one about
    a coil when it is on disk, one about rules when they are taken up.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, engines: Engines, alarms: Alarms, coils: Coils
    ) -> None:
        super().__init__(context, endpoint, None, setting="commands", requests=COMMAND)
        self._engines = engines
        self._alarms = alarms
        self._coils = coils

    def answer(self, request: Command) -> Answer | Later:
        if isinstance(request, AlarmRequest):
            outcome = self._alarms.take(request)
            return lambda: _answer(request, outcome) if outcome.done else None
        if isinstance(request, CoilRequest | RulesRequest):
            reply: CoilReply | RulesReply | str
            reply = self._coils.take(request) if isinstance(request, CoilRequest) else self._coils.reload(request)
            return refusal(request.id, ErrorCode.REFUSED, reply) if isinstance(reply, str) else (reply, ())
        refused = self._engines.command(request)
        if refused is not None:
            return refusal(request.id, ErrorCode.REFUSED, refused)
        return EngineReply(
            schema_version=SCHEMA_VERSION,
            reply="engine",
            id=request.id,
            engines=self._engines.engines,
            beside=self._engines.beside,
        ), ()


def _answer(request: AlarmRequest, outcome: Outcome) -> Answer:
    if outcome.refused is not None:
        return refusal(request.id, ErrorCode.REFUSED, outcome.refused)
    return AlarmReply(
        schema_version=SCHEMA_VERSION,
        reply="alarm",
        id=request.id,
        token=request.token,
        changed=tuple(outcome.changed),
    ), ()
