"""The audit trail of commands: one log event for each, with the caller, the command and its outcome."""

import structlog

from linewatch.contracts.access import Caller
from linewatch.wire.schema import AlarmReply, Command, ErrorReply, Message

log = structlog.get_logger()


def log_command(caller: Caller, peer: str, command: Command | None, reply: Message) -> None:
    """Log a command and its reply. command: None when the request was not valid.

    Every accepted command is logged; of the refused ones of one key, `linewatch.logs` sums those of a flood.
    """
    (log.warning if isinstance(reply, ErrorReply) else log.info)(
        "command",
        key=caller.key,
        role=caller.role,
        peer=peer,
        asked=command.model_dump(mode="json", exclude={"schema_version"}) if command else None,
        outcome=reply.error if isinstance(reply, ErrorReply) else "accepted",
        why=reply.text if isinstance(reply, ErrorReply) else None,
        changed=[alarm.id for alarm in reply.changed] if isinstance(reply, AlarmReply) else None,
    )
