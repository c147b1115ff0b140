"""What every model of the wire is built from: its base class, field types, topics, envelope and parsing."""

import json
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from linewatch.contracts.bounds import Count, IntervalMm, Score, Severity  # noqa: F401 - also for the modules of topics
from linewatch.contracts.errors import WireError

SCHEMA_VERSION: Final = 1
MAX_HEADER_BYTES = 1 << 20
MAX_MASK_RUNS = 1 << 20
MAX_PAYLOAD_BYTES = 12 * MAX_MASK_RUNS  # int32 triples


class Topic(StrEnum):
    """What a consumer subscribes to. No topic is a prefix of another."""

    FRAME = "frame"
    DEFECT = "defect"
    ALARM = "alarm"
    COIL = "coil"
    ROLL_MARK = "roll_mark"
    STATUS = "status"
    CROP = "crop"


KEPT_TOPICS = (Topic.FRAME, Topic.DEFECT, Topic.ALARM, Topic.COIL, Topic.ROLL_MARK)
"""Topics that are journaled and can be asked for again; a status is only worth something while it is fresh,
a picture is not worth the journal's room.
"""

DECIDED_TOPICS = (*KEPT_TOPICS, Topic.STATUS)
"""All but pictures: what a consumer gets who does not ask for these."""

Version = Annotated[Literal[1], Field(description="of this schema; a consumer refuses another")]


class Message(BaseModel):
    """Base of everything here. Unknown keys are refused, values are not coerced, no number is NaN or infinite."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class TimingBody(Message):
    """Monotonic nanoseconds of the service's host at which a frame left each stage; 0: it did not go through."""

    captured_ns: int = 0
    queued_ns: int = 0
    screened_ns: int = 0
    predicted_ns: int = 0
    decided_ns: int = 0
    published_ns: int = 0


CoilId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Words = Annotated[str, Field(min_length=1, max_length=64)]


class Envelope(Message):
    """What names a message for ever: `(epoch, topic, sequence)`."""

    schema_version: Version
    topic: Topic
    epoch: Count = Field(description="one start of the daemon; ascends")
    sequence: Count = Field(description="of the topic in this epoch, from 0 without gaps")


class Timed(Envelope):
    """A message about strip. `(epoch, coil_ordinal)` names one passage of a coil for ever; its id may come again."""

    coil_ordinal: Count | None = Field(
        default=None,
        description="of the coil in this epoch, from 0, also for what follows its end; null before the first",
    )
    timing: TimingBody


Token = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
M = TypeVar("M", bound=BaseModel)


def canonical(fields: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values, equal bytes. Raises ValueError for NaN and infinity."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def parse(model: type[M], data: bytes) -> M:
    """A model from JSON bytes. Raises WireError that says what does not fit."""
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise WireError(explain(error)) from error


def explain(error: ValidationError) -> str:
    """One line about what does not fit; a message of another schema version is named as such."""
    for fault in error.errors(include_url=False, include_context=False):
        if fault["loc"][-1:] == ("schema_version",) and fault["type"] == "literal_error":
            return f"schema version {fault['input']!r}; this side speaks {SCHEMA_VERSION}: upgrade the older one"
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "message"
    return f"{where}: {first['msg']} ({error.error_count()} faults in all)"
