"""Alarms: events that ask for an operator's action (ISA-18.2), their states by the names of OPC UA Part 9.

A rule of the configuration is a condition of Part 9. Each time it becomes active, an *alarm* with its own id is raised
and then published by its transitions. Shelving belongs to the rule: all alarms of a shelved rule are shelved. The
decision room makes alarms and notices; the command socket makes orders.
"""

from dataclasses import dataclass
from enum import StrEnum

from linewatch.contracts.prediction import Timing


class AlarmState(StrEnum):
    """Whether the alarm asks for an operator: raised means active, and neither shelved nor suppressed."""

    RAISED = "raised"
    CLEARED = "cleared"


class Priority(StrEnum):
    """How soon an operator has to act (ISA-18.2), in ascending order."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    URGENT = "urgent"


class ShelvingState(StrEnum):
    """The states of Part 9's ShelvedStateMachine."""

    UNSHELVED = "unshelved"
    TIMED_SHELVED = "timed_shelved"
    ONE_SHOT_SHELVED = "one_shot_shelved"  # until the alarm becomes inactive


class AlarmChange(StrEnum):
    """What a transition changed; of several changes, the one that stands first here."""

    INACTIVE = "inactive"
    ACTIVE = "active"
    ACKNOWLEDGED = "acknowledged"
    SHELVED = "shelved"
    UNSHELVED = "unshelved"
    SUPPRESSED = "suppressed"
    UNSUPPRESSED = "unsuppressed"


class AlarmAction(StrEnum):
    """What an operator can do with alarms."""

    ACKNOWLEDGE = "acknowledge"
    SHELVE = "shelve"
    UNSHELVE = "unshelve"


@dataclass(frozen=True, slots=True)
class AlarmCommand:
    """The request that caused a transition, for the audit trail: what, by whom and when."""

    token: str  # identifies the request
    action: AlarmAction
    by: str  # name of the request's key; without keys, the name that the request gave
    at_unix_ns: int
    said_by: str | None = None  # the name that the request gave, where `by` is a key's name
    comment: str = ""  # why, in the caller's words

    @property
    def key(self) -> str | None:
        """The name of the request's key; None: `by` is not proven by a key."""
        return None if self.said_by is None else self.by

    @property
    def asker(self) -> str:
        """Return the caller, as text."""
        return f"{self.said_by} (key {self.by})" if self.said_by else self.by or "unnamed caller"


@dataclass(frozen=True, slots=True)
class AlarmOrder:
    """A request on its way to the decision room.

    alarm: an alarm's id or its rule's name; None: acknowledge all. minutes: how long to shelve; None: until the alarm
    becomes inactive.
    """

    command: AlarmCommand
    alarm: str | None = None
    minutes: float | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """A transition of one alarm, and its state after it.

    The shelving of a rule is an `Alarm` too: `id` is the rule's name, `active_state` is False, and it is retained while
    the rule is shelved.
    """

    id: str  # made of rule, coil and position where it was raised
    rule: str
    state: AlarmState
    latched: bool  # stays active until acknowledged or the coil ends
    coil: str
    side: str
    camera: str
    along_mm: float  # where on the coil it was raised
    defect_ids: tuple[str, ...]  # the defects that made the rule's condition true
    text: str
    change: AlarmChange = AlarmChange.ACTIVE
    retain: bool = True  # False: this is the last transition
    priority: Priority = Priority.MEDIUM
    active_state: bool = True
    acked_state: bool = False
    shelving_state: ShelvingState = ShelvingState.UNSHELVED
    shelved_until_unix_ns: int | None = None
    suppressed_state: bool = False
    first_in_group: bool = False  # no other rule of its group was active
    count: int = 0  # flood alarm: number of alarms that it stands for
    command: AlarmCommand | None = None


@dataclass(frozen=True, slots=True)
class AlarmNotice:
    """Transitions that no frame caused: by a command, or by the state of the host.

    command: the command that this answers; None: none. refused: why it was not carried out; None: it was.
    """

    alarms: tuple[Alarm, ...]
    timing: Timing
    command: AlarmCommand | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class HostState:
    """What the host monitor knows between two frames. None: not known, and not decided on."""

    now_unix_ns: int
    camera_silent_s: float | None = None  # since the last grab
    camera_away: str | None = None  # why the camera cannot be opened; "": it is open
    disk_free_mb: float | None = None  # on the watched disk with the least room
    disk: str = "the journal's disk"  # name of that disk
    backend_lost: str | None = None  # why the engines do not run on the configured backend; "": they do
    recipe_lacking: str | None = None  # why a recipe's engine does not run; "": all run
    engine_withdrawn: str | None = None  # why a promoted engine inspects no longer; "": none was withdrawn
    journal_lost: str | None = None  # why decisions do not reach the journal's disk; "": they do
    cameras_out: str | None = None  # which cameras of a joined strip do not inspect, and why; "": all do
    restart_gap: str | None = None  # what passed unseen in a restart, once; "": nothing
    clock_step_ns: int = 0  # by how much the wall clock was set since the last state; 0: it was not
