"""Alarms: events that ask for an operator's action (ISA-18.2), their states by the names of OPC UA Part 9.

A rule of the configuration is Part 9's condition; each time it becomes active is an *alarm* with an id of its own, told
of by its transitions. Shelving belongs to the rule: while it is shelved, whatever it raises is shelved.
"""

from dataclasses import dataclass
from enum import StrEnum

from linewatch.contracts.prediction import Timing


class AlarmState(StrEnum):
    """Whether the alarm asks for an operator: it is active, and neither shelved nor suppressed."""

    RAISED = "raised"
    CLEARED = "cleared"


class Priority(StrEnum):
    """How soon an operator has to act (ISA-18.2), ascending."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    URGENT = "urgent"


class ShelvingState(StrEnum):
    """Part 9's ShelvedStateMachine."""

    UNSHELVED = "unshelved"
    TIMED_SHELVED = "timed_shelved"
    ONE_SHOT_SHELVED = "one_shot_shelved"  # until the alarm becomes inactive


class AlarmChange(StrEnum):
    """What a transition changed; where it changed more than one thing, the first of these that it did."""

    INACTIVE = "inactive"
    ACTIVE = "active"
    ACKNOWLEDGED = "acknowledged"
    SHELVED = "shelved"
    UNSHELVED = "unshelved"
    SUPPRESSED = "suppressed"
    UNSUPPRESSED = "unsuppressed"


class AlarmAction(StrEnum):
    """What an operator can ask for."""

    ACKNOWLEDGE = "acknowledge"
    SHELVE = "shelve"
    UNSHELVE = "unshelve"


@dataclass(frozen=True, slots=True)
class AlarmCommand:
    """Which request brought a transition, by whom and when: the audit trail."""

    token: str  # names the request for ever
    action: AlarmAction
    by: str  # the name of the key that it came with; without keys, who it said it was
    at_unix_ns: int
    said_by: str | None = None  # who it said it was, where `by` is the name of a key

    @property
    def key(self) -> str | None:
        """The name of the key that it came with; None: whoever asked could say any name."""
        return None if self.said_by is None else self.by

    @property
    def asker(self) -> str:
        """Who asked, in words."""
        return f"{self.said_by} (key {self.by})" if self.said_by else self.by or "nobody named"


@dataclass(frozen=True, slots=True)
class AlarmOrder:
    """A request on its way to the decision. alarm: an alarm's id, or its rule's name; None, to acknowledge: all.

    minutes: to shelve for; None: until the alarm becomes inactive.
    """

    command: AlarmCommand
    alarm: str | None = None
    minutes: float | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """A transition of one alarm, and how the alarm stands behind it.

    Or of a rule's shelf: then `id` is the rule's name and `active_state` is False; it is retained while shelved.
    """

    id: str  # stable: rule, coil and where it was raised
    rule: str
    state: AlarmState
    latched: bool  # stays active until acknowledged or the coil ends
    coil: str
    side: str
    camera: str
    along_mm: float
    defect_ids: tuple[str, ...]  # that made the rule true
    text: str
    change: AlarmChange = AlarmChange.ACTIVE
    retain: bool = True  # more is to come of it: it is active, or it is a shelf in force
    priority: Priority = Priority.MEDIUM
    active_state: bool = True
    acked_state: bool = False
    shelving_state: ShelvingState = ShelvingState.UNSHELVED
    shelved_until_unix_ns: int | None = None
    suppressed_state: bool = False
    first_in_group: bool = False  # no other of its rule's group was active
    count: int = 0  # of a flood: alarms that it stands for
    command: AlarmCommand | None = None


@dataclass(frozen=True, slots=True)
class AlarmNotice:
    """Transitions that no frame brought: a command's, or of what the host tells. Either `refused`, or done.

    command: whose answer this is; None: nobody's.
    """

    alarms: tuple[Alarm, ...]
    timing: Timing
    command: AlarmCommand | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class HostState:
    """What only the host knows, at a boundary between two frames. None: not known, nothing is decided of it."""

    now_unix_ns: int
    camera_silent_s: float | None = None  # since the last grab
    disk_free_mb: float | None = None  # of the fullest disk that is watched
    disk: str = "the journal's disk"  # which it is
    backend_lost: str | None = None  # why the engines do not run on the configured backend; "": they do
    recipe_lacking: str | None = None  # why a recipe's engine does not run; "": all can
