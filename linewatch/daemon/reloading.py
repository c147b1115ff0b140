"""SIGHUP, by which systemd asks for a reload, does what `linewatch reload rules` does."""

from collections.abc import Callable
from typing import Final, Protocol

import structlog

from linewatch.contracts.access import Caller
from linewatch.daemon.coils.orders import THIS_HOST
from linewatch.wire.schema import SCHEMA_VERSION, RulesReply, RulesRequest

BY: Final = "SIGHUP"

log = structlog.get_logger()


class RulesReader(Protocol):
    """Reads the rules again. A returned text says why they are refused; the former rules hold then."""

    def reload(self, request: RulesRequest, caller: Caller) -> RulesReply | str: ...


def reloading(rules: RulesReader) -> Callable[[], None]:
    """Return what reads the rules again and logs what a command would be answered."""

    def reload() -> None:
        request = RulesRequest(schema_version=SCHEMA_VERSION, request="rules", action="reload", by=BY)
        reply = rules.reload(request, THIS_HOST)
        if isinstance(reply, str):
            log.error("rules_refused", by=BY, why=reply)
        elif reply.left:
            log.warning("restart_needed", why="these settings are read at the start alone", settings=reply.left)

    return reload
