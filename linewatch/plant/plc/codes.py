"""The numbers that a PLC reads, and what they mean."""

from enum import IntEnum
from typing import Final

DEFECTS_SHOWN: Final = 6
ALARM_BITS: Final = 64
ACKNOWLEDGE_ALL: Final = ALARM_BITS
"""The bit that acknowledges all alarms, with or without a bit of their own."""
ACKNOWLEDGE_BITS: Final = ALARM_BITS + 1
NO_CLASS: Final = 0
CLASS_WITHOUT_CODE: Final = 65535


class StripQuality(IntEnum):
    """How the passing strip is inspected now."""

    NOT_LOOKED_AT = 0
    INSPECTED = 1
    DEGRADED = 2
    MISSED = 3


class CoilStateCode(IntEnum):
    """Whether the coil's totals are final."""

    NONE = 0
    RUNNING = 1
    ENDED = 2


class DefectStateCode(IntEnum):
    """Whether a defect may still grow."""

    NONE = 0
    OPEN = 1
    CLOSED = 2
    MERGED = 3  # it grew into another defect


class AcknowledgeResult(IntEnum):
    """The result of the newest request to acknowledge a bit."""

    NONE = 0  # no request since the bridge started
    OK = 1  # acknowledged, and on the service's disk
    REFUSED = 2  # by the service, at least one alarm: it is over, or this key may not acknowledge
    NO_ANSWER = 3  # from the service, at least one alarm: its bit among the unacknowledged ones tells
    NOTHING = 4  # no alarm of this bit is unacknowledged
    TOO_NEW = 5  # all of them are younger than steady_s: the PLC may have meant another one


def explained(codes: type[IntEnum]) -> str:
    """Return the codes with their meanings, for the description of an address."""
    return ", ".join(f"{code.value} {code.name.lower().replace('_', ' ')}" for code in codes)
