"""Topic `alarm`."""

from typing import Literal

from pydantic import Field

from linewatch.contracts.alarm import AlarmAction, AlarmChange, AlarmState, Priority, ShelvingState
from linewatch.wire.schema.base import Count, Message, Mm, Timed, Topic, Whole


class CommandMark(Message):
    """The request that caused a transition: who asked for what, and when."""

    token: str
    action: AlarmAction
    by: str = Field(
        description="name of the key that the request came with; without keys, the name that the request gave"
    )
    at_unix_ns: Whole
    said_by: str | None = Field(
        default=None,
        description="the name that the request gave, where `by` is a key's name; null: `by` is not proven by a key",
    )
    comment: str = Field(default="", description="why, in the caller's words; empty: none was given")


class AlarmBody(Message):
    """A transition of one alarm, and its state after it. The states are named as in OPC UA Part 9.

    The shelving of a rule is published as an alarm whose `id` is the rule's name, retained while the rule is shelved.
    """

    state: AlarmState = Field(
        description="raised: the alarm is active, neither shelved nor suppressed, and asks for an operator"
    )
    id: str
    ordinal: Count | None = Field(description="number of the frame that caused the transition; null when no frame did")
    rule: str
    latched: bool = Field(description="the alarm stays active until it is acknowledged or the coil ends")
    coil: str
    side: str
    camera: str
    along_mm: Mm
    defect_ids: tuple[str, ...]
    text: str
    change: AlarmChange = Field(default=AlarmChange.ACTIVE, description="what this transition changed")
    retain: bool = Field(default=True, description="false: this is the alarm's last transition")
    priority: Priority = Priority.MEDIUM
    active_state: bool = Field(
        default=True, description="the rule's condition holds or the alarm is latched; false for a shelved rule"
    )
    acked_state: bool = Field(default=False, description="an operator has acknowledged it")
    shelving_state: ShelvingState = ShelvingState.UNSHELVED
    shelved_until_unix_ns: Whole | None = Field(
        default=None, description="when timed shelving ends, in nanoseconds since 1970 (UTC)"
    )
    suppressed_state: bool = Field(
        default=False, description="held back while the strip is threaded or during an alarm flood"
    )
    first_in_group: bool = Field(
        default=False, description="no other rule of its group was active when it became active"
    )
    count: Count = Field(default=0, description="flood alarm: number of alarms that it stands for")
    command: CommandMark | None = Field(
        default=None, description="the request that caused this transition; null: none did"
    )


class AlarmMessage(AlarmBody, Timed):
    """Topic `alarm`."""

    topic: Literal[Topic.ALARM]
