"""What the bridge itself says and takes in JSON; all else on its topics are the wire's own messages."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.json_schema import models_json_schema

from linewatch.contracts.alarm import AlarmAction
from linewatch.contracts.coil import CoilName
from linewatch.contracts.verdict import CoilState, Quality
from linewatch.plant.commands import CommandResult
from linewatch.plant.keeper import LostBody
from linewatch.wire.schema import (
    AlarmMessage,
    CoilDataBody,
    CoilMessage,
    Count,
    DefectMessage,
    FrameMessage,
    Message,
    RollMarkMessage,
    Score,
    StatusMessage,
    Token,
)

UnixMs = Annotated[int, Field(ge=0, le=1 << 53, description="milliseconds since 1970 (UTC)")]
By = Annotated[str, Field(max_length=48, description="who asks, for the record")]


class BridgeBody(Message):
    """Whether the bridge is connected, and what it could not deliver."""

    online: bool = Field(description="false: what is retained beside it may be out of date; nobody knows of the strip")
    at_unix_ms: UnixMs | None = Field(default=None, description="when it was said; null in the last will")
    service: str | None = Field(default=None, description="state of the service, as in the topic `state`")
    waiting: Count = Field(default=0, description="events that are stored and not delivered yet")
    dropped: Count = Field(default=0, description="events that were dropped to keep the store's bound, ever")


class StateBody(Message):
    """The line in brief. The broker forgets it 5 s after the newest (MQTT 5)."""

    service: str = Field(
        description="running: strip is inspected; silent: nothing is heard of the service; starting, draining, failed, "
        "unhealthy, catching_up"
    )
    quality: Quality | None = Field(description="how the passing strip is inspected now; null: nobody looks at it")
    heartbeat: Count = Field(description="counts while the service is healthy and followed; watch that it changes")
    at_unix_ms: UnixMs
    coil: str
    coil_state: CoilState | None
    along_mm: float = Field(description="end of the decided strip, from the head of the coil")
    coverage: Score = Field(description="inspected share of the area of the coil so far")
    inspected_mm: float
    degraded_mm: float
    missed_mm: float
    alarms_standing: Count
    alarms_unacknowledged: Count
    defects: Count = Field(description="defects since the service started")


class PlantCommand(Message):
    """What every command has."""

    token: Token = Field(description="new and random for every command; sent again, it is carried out once")
    at_unix_ms: UnixMs = Field(description="when it was sent; an older or later one than `fresh_s` is refused")
    by: By = ""


class TokenBody(BaseModel):
    """The token of a command that is otherwise not understood."""

    model_config = ConfigDict(extra="ignore", strict=True)
    token: Token


class AlarmCommandBody(PlantCommand):
    """Acknowledges an alarm, or shelves or unshelves the alarms of a rule."""

    command: Literal[AlarmAction.ACKNOWLEDGE, AlarmAction.SHELVE, AlarmAction.UNSHELVE]
    alarm: Annotated[str, Field(min_length=1, max_length=512)] = Field(
        description="an alarm's id; to shelve, also its rule's name"
    )
    minutes: Annotated[float, Field(gt=0, le=10_080)] | None = Field(
        default=None, description="how long to shelve; null: until the alarm becomes inactive"
    )


class CoilStartBody(PlantCommand):
    """Starts a coil."""

    command: Literal["coil_start"]
    coil: CoilName
    at_mm: Annotated[float, Field(ge=0, le=5e7)] | None = Field(
        default=None, description="position along the coil under the camera; null: with the next line"
    )


class CoilEndBody(PlantCommand):
    """Ends the coil under the camera."""

    command: Literal["coil_end"]
    coil: CoilName | None = Field(default=None, description="the coil that is meant, as a safeguard")
    at_mm: Annotated[float, Field(ge=0, le=5e7)] | None = Field(default=None, description="as in `coil_start`")


class CoilDataCommandBody(PlantCommand):
    """Tells the data of a coil, before it comes or while it runs."""

    command: Literal["coil_data"]
    data: CoilDataBody


class ReplyBody(Message):
    """The answer to a command."""

    token: str | None = Field(description="of the command; null: it had none that could be read")
    result: CommandResult = Field(
        description="ok: carried out and on the service's disk; refused: not carried out; no_answer: the service did "
        "not answer in time, and may or may not have carried it out: send it again with the same token"
    )
    why: str | None = Field(default=None, description="why it was refused; null: it was not")


Command = AlarmCommandBody | CoilStartBody | CoilEndBody | CoilDataCommandBody
COMMAND: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="command")])

BODIES: dict[str, type[Message]] = {
    "bridge": BridgeBody,
    "state": StateBody,
    "status": StatusMessage,
    "defect": DefectMessage,
    "alarm": AlarmMessage,
    "coil": CoilMessage,
    "roll_mark": RollMarkMessage,
    "frame": FrameMessage,
    "lost": LostBody,
    "reply": ReplyBody,
}
"""By the level of the topic behind the prefix."""


def topics_schema() -> str:
    """Return the JSON Schema of every body: `topics` names the definition of each topic."""
    commands: tuple[type[Message], ...] = (AlarmCommandBody, CoilStartBody, CoilEndBody, CoilDataCommandBody)
    of: list[tuple[type[Message], Literal["validation", "serialization"]]]
    of = [(model, "validation") for model in [*BODIES.values(), *commands]]
    _, found = models_json_schema(of, title="linewatch MQTT topics")
    schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}
    schema["topics"] = {name: {"$ref": f"#/$defs/{model.__name__}"} for name, model in BODIES.items()}
    schema["topics"]["command"] = {"oneOf": [{"$ref": f"#/$defs/{model.__name__}"} for model in commands]}
    schema["topics"]["alarms/ID"] = {"$ref": "#/$defs/AlarmBody"}
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"
