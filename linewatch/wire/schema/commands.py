"""The command socket: engines, alarms, coils and rules."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from linewatch.contracts.alarm import AlarmAction
from linewatch.wire.schema.alarm import AlarmBody
from linewatch.wire.schema.base import CoilId, Count, Message, Token, Version
from linewatch.wire.schema.coil import CoilDataBody
from linewatch.wire.schema.requests import ErrorReply, ReplayReply, SnapshotReply
from linewatch.wire.schema.status import CoilStatus, EngineBeside, EngineStatus


class EngineAction(StrEnum):
    """What can be done with an engine while the service runs."""

    LOAD = "load"
    PROMOTE = "promote"
    DROP = "drop"
    SHOW = "show"  # change nothing


class EngineCommand(Message):
    """To the command socket: one engine is loaded beside the running ones, and then promoted or dropped."""

    schema_version: Version
    request: Literal["engine"]
    id: Count = Field(default=0, description="comes back in the reply")
    action: EngineAction
    name: str = Field(default="", pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?$", description="to load; a folder")
    shadow: bool = Field(default=False, description="compare it with the running engine of its task")

    @model_validator(mode="after")
    def _names_what_it_loads(self) -> Self:
        if (self.action is EngineAction.LOAD) != bool(self.name):
            raise ValueError("load needs a name, the others have none")
        return self


class EngineReply(Message):
    """The command was taken and is being carried out: `status` tells how far it is."""

    schema_version: Version
    reply: Literal["engine"]
    id: Count
    engines: tuple[EngineStatus, ...]
    beside: EngineBeside | None


class AlarmRequest(Message):
    """To the command socket: acknowledge an alarm or all, shelve or unshelve a rule's alarms."""

    schema_version: Version
    request: Literal["alarm"]
    id: Count = Field(default=0, description="comes back in the reply")
    token: Token = Field(
        description="names the request for ever: sent again, it is answered as before and changes nothing"
    )
    action: AlarmAction
    alarm: Annotated[str, Field(min_length=1, max_length=512)] | None = Field(
        default=None, description="an alarm's id, or its rule's name; null, to acknowledge: all that stand"
    )
    minutes: Annotated[float, Field(gt=0, le=10_080)] | None = Field(
        default=None, description="to shelve for; null: until the alarm becomes inactive"
    )
    by: Annotated[str, Field(max_length=64)] = Field(default="", description="who asks, for the record")

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        if self.alarm is None and self.action is not AlarmAction.ACKNOWLEDGE:
            raise ValueError(f"{self.action} needs an alarm")
        if self.minutes is not None and self.action is not AlarmAction.SHELVE:
            raise ValueError(f"{self.action} has no minutes")
        return self


class AlarmReply(Message):
    """The command is carried out and its transitions are on disk; none: it was so already."""

    schema_version: Version
    reply: Literal["alarm"]
    id: Count
    token: str
    changed: tuple[AlarmBody, ...] = Field(description="how the alarms stand that the command changed")


class CoilAction(StrEnum):
    """What can be said of a coil."""

    START = "start"
    END = "end"
    DATA = "data"
    SHOW = "show"  # change nothing


class CoilRequest(Message):
    """To the command socket: a coil starts or ends under the camera, or what the mill knows of one."""

    schema_version: Version
    request: Literal["coil"]
    id: Count = Field(default=0, description="comes back in the reply")
    token: Token | None = Field(
        default=None,
        description="names the request for ever: sent again, it is answered as before and changes nothing; "
        "needed but to show",
    )
    action: CoilAction
    coil: CoilId | None = Field(default=None, description="that starts; or that ends, to be sure that it is this one")
    at_mm: Annotated[float, Field(ge=0, le=5e7)] | None = Field(
        default=None, description="along the coil under the camera; null: with the next line"
    )
    data: CoilDataBody | None = None
    by: Annotated[str, Field(max_length=64)] = Field(default="", description="who asks, for the record")

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        action = self.action
        if (self.token is None) != (action is CoilAction.SHOW):
            raise ValueError(f"{action} {'has no' if action is CoilAction.SHOW else 'needs a'} token")
        if (self.data is not None) != (action is CoilAction.DATA):
            raise ValueError(f"{action} {'needs' if action is CoilAction.DATA else 'has no'} data")
        if self.coil is None and action is CoilAction.START:
            raise ValueError("start needs a coil")
        if self.coil is not None and action not in (CoilAction.START, CoilAction.END):
            raise ValueError(f"{action} has no coil beside its data's")
        if self.at_mm is not None and action not in (CoilAction.START, CoilAction.END):
            raise ValueError(f"{action} has no at_mm")
        return self


class CoilReply(Message):
    """The command is on disk, and taken up: by the next frames, or where its coil comes to `at_mm`."""

    schema_version: Version
    reply: Literal["coil"]
    id: Count
    token: str | None
    recipe: str | None = Field(description="of data: by which the coil will be inspected; null: the default")
    notes: tuple[str, ...] = Field(description="of data: what one should know, such as why it is the default")
    now: CoilStatus


class RulesRequest(Message):
    """To the command socket: read the rules again from the files that the service was started with."""

    schema_version: Version
    request: Literal["rules"]
    id: Count = Field(default=0, description="comes back in the reply")
    action: Literal["reload"]
    by: Annotated[str, Field(max_length=64)] = Field(default="", description="who asks, for the record")


class RulesReply(Message):
    """The rules are good and taken up: sensitivity by the next frame, grading and ends by the next coil."""

    schema_version: Version
    reply: Literal["rules"]
    id: Count
    config: str = Field(description="identity of the settings that decide from now on")
    gradings: tuple[str, ...] = Field(description="name@digest of the grading rules, the default's first")
    left: tuple[str, ...] = Field(description="what else differs in the file and needs a restart")


Command = EngineCommand | AlarmRequest | CoilRequest | RulesRequest
Reply = ReplayReply | SnapshotReply | EngineReply | AlarmReply | CoilReply | RulesReply | ErrorReply
COMMAND: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="request")])
REPLY: TypeAdapter[Reply] = TypeAdapter(Annotated[Reply, Field(discriminator="reply")])
