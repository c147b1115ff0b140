"""Which alarms the journal has to remember, told from their journaled records alone."""

import json
from collections import deque

from linewatch.contracts.alarm import AlarmState
from linewatch.contracts.record import Record

ALARM_TOPIC = "alarm"
COMMANDED_RECORDS = 256
"""Newest records that a command brought: a request that is sent again is known by them, also after a restart."""


class RetainedAlarms:
    """The last record of every alarm that is retained, as they were raised, and what commands brought.

    Reads `id`, `state`, `retain` and `command` of an alarm's header and nothing else of it.
    """

    def __init__(self) -> None:
        self._retained: dict[str, Record] = {}
        self._commanded: deque[Record] = deque(maxlen=COMMANDED_RECORDS)

    def take(self, record: Record) -> None:
        """Follow one record; records of other topics change nothing."""
        if record.topic != ALARM_TOPIC:
            return
        alarm = json.loads(record.header)
        if alarm.get("retain", alarm["state"] == AlarmState.RAISED):
            self._retained[alarm["id"]] = record
        else:
            self._retained.pop(alarm["id"], None)
        if alarm.get("command"):
            self._commanded.append(record)

    def carry(self, record: Record, *, commanded: bool) -> None:
        """Take over what an older segment says: an alarm's last record, or (and nothing else) one of a command."""
        if commanded:
            self._commanded.append(record)
        else:
            self._retained[json.loads(record.header)["id"]] = record

    def records(self) -> list[Record]:
        """The last record of each that is retained."""
        return list(self._retained.values())

    def commanded(self) -> list[Record]:
        """The newest records that commands brought, oldest first."""
        return list(self._commanded)
