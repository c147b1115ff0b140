"""The command socket: what an engineer on this host asks of the running service."""

from typing import Protocol

import zmq

from linewatch.wire.router import Answer, Router, refusal
from linewatch.wire.schema import (
    COMMAND,
    SCHEMA_VERSION,
    EngineBeside,
    EngineCommand,
    EngineReply,
    EngineStatus,
    ErrorCode,
)


class Engines(Protocol):
    """What carries the commands out."""

    @property
    def engines(self) -> tuple[EngineStatus, ...]: ...
    @property
    def beside(self) -> EngineBeside | None: ...
    def command(self, command: EngineCommand) -> str | None: ...


class CommandServer(Router[EngineCommand]):
    """Takes commands; what was taken is answered at once and carried out later."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, engines: Engines) -> None:
        super().__init__(context, endpoint, None, setting="commands", requests=COMMAND)
        self._engines = engines

    def answer(self, request: EngineCommand) -> Answer:
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
