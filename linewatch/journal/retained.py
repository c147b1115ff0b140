"""What the journal must keep although the segments that it came in are dropped."""

import json
from collections import deque

from linewatch.contracts.alarm import AlarmState
from linewatch.contracts.record import Record

ALARM_TOPIC = "alarm"
COMMANDED_RECORDS = 256
"""So many newest records caused by commands are kept: they identify a request that is sent again, even after a
restart.
"""


def is_readable(record: Record) -> bool:
    """Return whether a record of an alarm says which alarm it is, and in what state; any other record is."""
    if record.topic != ALARM_TOPIC:
        return True
    try:
        alarm = json.loads(record.header)
        return isinstance(alarm["id"], str) and isinstance(alarm["state"], str)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


class Retained:
    """The last record of every retained alarm, oldest alarm first, and the newest records caused by commands.

    It reads `id`, `state`, `retain` and `command` from an alarm's header, and nothing else. identity: of the journal;
    "" before it is known. state: the newest that was appended with records; b"" before any was.
    """

    def __init__(self) -> None:
        self.identity = ""
        self.state = b""
        self._retained: dict[str, Record] = {}
        self._commanded: deque[Record] = deque(maxlen=COMMANDED_RECORDS)

    def take(self, record: Record) -> None:
        """Follow one record. Records of other topics are ignored."""
        if record.topic != ALARM_TOPIC:
            return
        alarm = json.loads(record.header)
        if alarm.get("retain", alarm["state"] == AlarmState.RAISED):
            self._retained[alarm["id"]] = record
        else:
            self._retained.pop(alarm["id"], None)
        if alarm.get("command") and record not in self._commanded:  # it is, where it is appended again
            self._commanded.append(record)

    def carry(self, record: Record, *, commanded: bool) -> None:
        """Take a record carried over from an older segment: a command's, or else an alarm's last one."""
        if commanded:
            self._commanded.append(record)
        else:
            self._retained[json.loads(record.header)["id"]] = record

    def records(self) -> list[Record]:
        """Return the last record of each retained alarm."""
        return list(self._retained.values())

    def commanded(self) -> list[Record]:
        """Return the newest records caused by commands, oldest first."""
        return list(self._commanded)
