"""The audit trail of commands: one log event for each, with the caller, the command and its outcome."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from linewatch.contracts.access import Caller
from linewatch.wire.schema import AlarmReply, Command, ErrorReply, Message

log = structlog.get_logger()

REFUSED_LOGGED_PER_S = 20
"""So many refused commands of one key are logged one by one in each second; the rest of a flood is only counted."""


@dataclass(slots=True)
class _Second:
    """The refused commands of one key since `began_s`."""

    began_s: float
    logged: int = 0
    more: int = 0


class Audit:
    """Used by one thread. Commands that were carried out are always logged."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = monotonic_s
        self._refused: dict[str | None, _Second] = {}

    def record(self, caller: Caller, command: Command | None, reply: Message) -> None:
        """Log a command and its reply. command: None when the request was not valid."""
        refused = isinstance(reply, ErrorReply)
        if refused and not self._may_log(caller.key):
            return
        (log.warning if refused else log.info)(
            "command",
            key=caller.key,
            role=caller.role,
            asked=command.model_dump(mode="json", exclude={"schema_version"}) if command else None,
            outcome=reply.error if isinstance(reply, ErrorReply) else "accepted",
            why=reply.text if isinstance(reply, ErrorReply) else None,
            changed=[alarm.id for alarm in reply.changed] if isinstance(reply, AlarmReply) else None,
        )

    def log_counts(self, *, last: bool = False) -> None:
        """Log how many more commands were refused. Call it at least once a second; `last`: for the rest at the end."""
        for key, second in tuple(self._refused.items()):
            if last or self._now_s() - second.began_s >= 1.0:
                del self._refused[key]
                if second.more:
                    log.warning("more_commands_refused", key=key, more=second.more)

    def _may_log(self, key: str | None) -> bool:
        second = self._refused.setdefault(key, _Second(self._now_s()))
        if second.logged < REFUSED_LOGGED_PER_S:
            second.logged += 1
            return True
        second.more += 1
        return False
