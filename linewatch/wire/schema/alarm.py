"""Topic `alarm`."""

from typing import Literal

from pydantic import Field

from linewatch.contracts.alarm import AlarmAction, AlarmChange, AlarmState, Priority, ShelvingState
from linewatch.wire.schema.base import Count, Message, Timed, Topic


class CommandMark(Message):
    """Which request brought a transition: who, what and when."""

    token: str
    action: AlarmAction
    by: str = Field(description="the name of the key that it came with; without keys: who it said it was")
    at_unix_ns: int
    said_by: str | None = Field(
        default=None, description="who it said it was, where `by` is the name of a key; null: `by` is unproven"
    )


class AlarmBody(Message):
    """A transition of one alarm, and how the alarm stands behind it. States by the names of OPC UA Part 9.

    A rule that is shelved has a record of its own, whose `id` is the rule's name: it is retained while that lasts.
    """

    state: AlarmState = Field(description="raised: it asks for an operator: active, and neither shelved nor suppressed")
    id: str
    ordinal: Count | None = Field(description="of the frame that brought it; null where no frame did")
    rule: str
    latched: bool = Field(description="stays active until acknowledged or the coil ends")
    coil: str
    side: str
    camera: str
    along_mm: float
    defect_ids: tuple[str, ...]
    text: str
    change: AlarmChange = Field(default=AlarmChange.ACTIVE, description="what this transition changed")
    retain: bool = Field(default=True, description="more is to come of it; false: this is the last that is told")
    priority: Priority = Priority.MEDIUM
    active_state: bool = Field(default=True, description="its condition is true, or it is latched; false of a shelf")
    acked_state: bool = Field(default=False, description="an operator has acknowledged it")
    shelving_state: ShelvingState = ShelvingState.UNSHELVED
    shelved_until_unix_ns: int | None = Field(default=None, description="the shelving's limit by the wall clock")
    suppressed_state: bool = Field(default=False, description="held back by threading or a flood")
    first_in_group: bool = Field(default=False, description="no other rule of its group was active")
    count: Count = Field(default=0, description="of a flood: alarms that it stands for")
    command: CommandMark | None = Field(default=None, description="the request that brought this transition")


class AlarmMessage(AlarmBody, Timed):
    """Topic `alarm`."""

    topic: Literal[Topic.ALARM]
