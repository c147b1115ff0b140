"""The audit trail of commands: who asked for what, and what became of it, one log event each."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from linewatch.contracts.access import Caller
from linewatch.wire.schema import AlarmReply, Command, ErrorReply, Message

log = structlog.get_logger()

NOT_DONE_PER_S = 20
"""Of one key's commands that were not carried out, so many are told one by one; a flood is told by its sum."""


@dataclass(slots=True)
class _Second:
    """What one key asked for in vain since `began_s`."""

    began_s: float
    told: int = 0
    more: int = 0


class Audit:
    """Used by one thread. What was carried out is told, always."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = monotonic_s
        self._in_vain: dict[str | None, _Second] = {}

    def tell(self, caller: Caller, command: Command | None, reply: Message) -> None:
        """One command, None if it was none, and its answer."""
        refused = isinstance(reply, ErrorReply)
        if refused and not self._may_tell(caller.key):
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

    def sum_up(self, *, last: bool = False) -> None:
        """Tell how many more there were; to be called now and then, and at last."""
        for key, second in tuple(self._in_vain.items()):
            if last or self._now_s() - second.began_s >= 1.0:
                del self._in_vain[key]
                if second.more:
                    log.warning("more_commands_refused", key=key, more=second.more)

    def _may_tell(self, key: str | None) -> bool:
        second = self._in_vain.setdefault(key, _Second(self._now_s()))
        if second.told < NOT_DONE_PER_S:
            second.told += 1
            return True
        second.more += 1
        return False
