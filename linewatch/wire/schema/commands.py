"""Requests to the command socket (engines, alarms, coils and rules) and their replies."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from linewatch.contracts.alarm import AlarmAction
from linewatch.contracts.coil import CoilName
from linewatch.wire.schema.alarm import AlarmBody
from linewatch.wire.schema.base import Count, Message, Token, Version, Versioned
from linewatch.wire.schema.bridge import BridgeReply
from linewatch.wire.schema.coil import CoilDataBody
from linewatch.wire.schema.disagreement import DisagreementsReply, DisagreementsRequest
from linewatch.wire.schema.picture import NewestPictureReply
from linewatch.wire.schema.requests import ErrorReply, ReplayReply, SnapshotReply
from linewatch.wire.schema.status import CoilStatus, EngineBeside, EngineStatus

Asker = Annotated[str, Field(max_length=64)]
Comment = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class EngineAction(StrEnum):
    """What a command does with an engine while the service runs."""

    LOAD = "load"
    PROMOTE = "promote"
    DROP = "drop"
    ROLLBACK = "rollback"  # from the newest promotion to the engine before it
    SHOW = "show"  # change nothing


class EngineCommand(Message):
    """Loads an engine beside the running ones, promotes or drops it, rolls a promotion back, or shows the engines."""

    schema_version: Version
    request: Literal["engine"]
    id: Count = Field(default=0, description="repeated in the reply")
    action: EngineAction
    name: str = Field(
        default="", pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?$", description="engine to load: a folder's name"
    )
    shadow: bool = Field(default=False, description="compare the engine with the running engine of its task")
    by: Asker = Field(default="", description="name of the operator or program that asks, for the record")

    @model_validator(mode="after")
    def _names_what_it_loads(self) -> Self:
        if (self.action is EngineAction.LOAD) != bool(self.name):
            raise ValueError("load needs a name, other actions take none")
        return self


class EngineReply(Versioned):
    """The reply to an engine command: it was accepted and is being carried out. Topic `status` shows its progress."""

    reply: Literal["engine"]
    id: Count
    engines: tuple[EngineStatus, ...]
    beside: EngineBeside | None
    available: tuple[str, ...] = Field(default=(), description="names of the engines that can be loaded")
    back_to: str | None = Field(
        default=None, description="the engine that a rollback brings back; null: there is none to go back to"
    )


class AlarmRequest(Message):
    """Acknowledges an alarm or all alarms, or shelves or unshelves a rule's alarms."""

    schema_version: Version
    request: Literal["alarm"]
    id: Count = Field(default=0, description="repeated in the reply")
    token: Token = Field(
        description="identifies the request: when sent again, it gets the same answer and changes nothing"
    )
    action: AlarmAction
    alarm: Annotated[str, Field(min_length=1, max_length=512)] | None = Field(
        default=None, description="an alarm's id or its rule's name; null: acknowledge all standing alarms"
    )
    minutes: Annotated[float, Field(gt=0, le=10_080)] | None = Field(
        default=None, description="how long to shelve; null: until the alarm becomes inactive"
    )
    by: Asker = Field(default="", description="name of the operator or program that asks, for the record")
    comment: Comment = Field(default="", description="why, for the record, such as the reason of a shelving")

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.alarm is None and self.action is not AlarmAction.ACKNOWLEDGE:
            raise ValueError(f"{self.action} needs an alarm")
        if self.minutes is not None and self.action is not AlarmAction.SHELVE:
            raise ValueError(f"{self.action} has no minutes")
        return self


class AlarmReply(Versioned):
    """The reply to an alarm command: it is carried out, and its transitions are on disk."""

    reply: Literal["alarm"]
    id: Count
    token: str
    changed: tuple[AlarmBody, ...] = Field(description="new states of the changed alarms; empty: nothing had to change")


class CoilAction(StrEnum):
    """What a command says about a coil."""

    START = "start"
    END = "end"
    DATA = "data"
    SHOW = "show"  # change nothing


class CoilRequest(Message):
    """Starts or ends a coil under the camera, supplies data of a coil, or shows the current coil."""

    schema_version: Version
    request: Literal["coil"]
    id: Count = Field(default=0, description="repeated in the reply")
    token: Token | None = Field(
        default=None,
        description="identifies the request: when sent again, it gets the same answer and changes nothing; "
        "required except for `show`",
    )
    action: CoilAction
    coil: CoilName | None = Field(
        default=None,
        description="the coil that starts; or the coil that ends, as a safeguard against ending another one",
    )
    at_mm: Annotated[float, Field(ge=0, le=5e7)] | None = Field(
        default=None, description="position along the coil under the camera; null: with the next line"
    )
    data: CoilDataBody | None = None
    by: Asker = Field(default="", description="name of the operator or program that asks, for the record")

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        action = self.action
        if (self.token is None) != (action is CoilAction.SHOW):
            raise ValueError(f"{action} {'has no' if action is CoilAction.SHOW else 'needs a'} token")
        if (self.data is not None) != (action is CoilAction.DATA):
            raise ValueError(f"{action} {'needs' if action is CoilAction.DATA else 'has no'} data")
        if self.coil is None and action is CoilAction.START:
            raise ValueError("start needs a coil")
        if self.coil is not None and action not in (CoilAction.START, CoilAction.END):
            raise ValueError(f"{action} has no coil besides the one in its data")
        if self.at_mm is not None and action not in (CoilAction.START, CoilAction.END):
            raise ValueError(f"{action} has no at_mm")
        return self


class CoilReply(Versioned):
    """The reply to a coil command: it is on disk, and applies to the next frames or when the coil reaches `at_mm`."""

    reply: Literal["coil"]
    id: Count
    token: str | None
    recipe: str | None = Field(description="`data`: the recipe that will apply to the coil; null: the default settings")
    notes: tuple[str, ...] = Field(description="`data`: remarks, such as why the default settings will apply")
    now: CoilStatus = Field(description="the coil under the camera now")


class RulesRequest(Message):
    """Reads the rules again from the files that the service was started with."""

    schema_version: Version
    request: Literal["rules"]
    id: Count = Field(default=0, description="repeated in the reply")
    action: Literal["reload"]
    by: Asker = Field(default="", description="name of the operator or program that asks, for the record")


class RulesReply(Versioned):
    """The reply to a reload: the rules are valid.

    Sensitivity applies from the next frame on, grading and excluded ends from the next coil on.
    """

    reply: Literal["rules"]
    id: Count
    config: str = Field(description="identity of the settings that apply from now on")
    gradings: tuple[str, ...] = Field(description="name@digest of the grading rules, default rules first")
    left: tuple[str, ...] = Field(description="other settings that differ in the file and need a restart")


Command = EngineCommand | DisagreementsRequest | AlarmRequest | CoilRequest | RulesRequest
CommandReply = EngineReply | DisagreementsReply | AlarmReply | CoilReply | RulesReply
Reply = ReplayReply | SnapshotReply | NewestPictureReply | BridgeReply | CommandReply | ErrorReply
COMMAND: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="request")])
REPLY: TypeAdapter[Reply] = TypeAdapter(Annotated[Reply, Field(discriminator="reply")])
