"""Which alarms are raised, told from their journaled records alone."""

import json

from linewatch.contracts.record import Record
from linewatch.contracts.verdict import AlarmState

ALARM_TOPIC = "alarm"


class StandingAlarms:
    """The last record of every alarm whose last state is raised, in the order in which they were raised.

    Reads `id` and `state` of an alarm's header and nothing else of it.
    """

    def __init__(self) -> None:
        self._raised: dict[str, Record] = {}

    def take(self, record: Record) -> None:
        """Follow one record; records of other topics change nothing."""
        if record.topic != ALARM_TOPIC:
            return
        alarm = json.loads(record.header)
        if alarm["state"] == AlarmState.RAISED:
            self._raised[alarm["id"]] = record
        else:
            self._raised.pop(alarm["id"], None)

    def records(self) -> list[Record]:
        """The raised ones."""
        return list(self._raised.values())
