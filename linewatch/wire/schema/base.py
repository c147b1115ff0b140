"""What every model of the wire shares: base class, field types, topics, envelope and parsing."""

import json
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from linewatch.contracts.bounds import (  # noqa: F401 - also for the modules of topics
    Count,
    IntervalMm,
    Mm,
    Score,
    Severity,
    ShortText,
    Whole,
)
from linewatch.contracts.errors import WireError
from linewatch.contracts.verdict import StripArea

SCHEMA_VERSION: Final = 1
SCHEMA_MINOR: Final = 1
"""Counts what was added within the version: keys, topics and requests. An enumeration of an existing key gets no new
value, and no key changes its meaning or goes, within a version.
"""
MAX_HEADER_BYTES = 1 << 20
MAX_TEXT_LENGTH = 1 << 14
MAX_MASK_RUNS = 1 << 20
MAX_PAYLOAD_BYTES = 12 * MAX_MASK_RUNS  # int32 triples


class Topic(StrEnum):
    """The topics that a consumer can subscribe to. No topic is a prefix of another."""

    FRAME = "frame"
    DEFECT = "defect"
    ALARM = "alarm"
    COIL = "coil"
    ROLL_MARK = "roll_mark"
    STATUS = "status"
    CROP = "crop"


KEPT_TOPICS = (Topic.FRAME, Topic.DEFECT, Topic.ALARM, Topic.COIL, Topic.ROLL_MARK)
"""Topics that are journaled and can be replayed. A status is of use only while it is fresh, and crops would fill the
journal.
"""

DECIDED_TOPICS = (*KEPT_TOPICS, Topic.STATUS)
"""The topics that a consumer gets by default: all but crops."""

Version = Annotated[Literal[1], Field(description="version of this schema; a consumer refuses any other")]
Minor = Annotated[
    int,
    Field(
        ge=0,
        lt=1 << 31,
        description="minor version of the side that wrote this. Where it is greater than the reader's, the reader "
        "ignores keys that it does not know; 0: also in messages of before it was told",
    ),
]


class Message(BaseModel):
    """Base of every model: unknown keys are refused, values are not converted, numbers are finite, texts bounded."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, str_max_length=MAX_TEXT_LENGTH
    )


class Versioned(Message):
    """Base of what a service says: every published message and every reply."""

    schema_version: Version
    schema_minor: Minor = 0


class CoveredArea(Message):
    """Area of strip by how it was inspected. Null: not known, in messages of before it was told."""

    inspected_mm2: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="area of strip that was scored and, where needed, classified and outlined"
    )
    degraded_mm2: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="area of strip that was scored, and not inspected further"
    )
    missed_mm2: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="area of strip that was not scored; the three together are the area that passed"
    )

    @property
    def area(self) -> StripArea | None:
        """The three areas; None when they are not known."""
        if self.inspected_mm2 is None or self.degraded_mm2 is None or self.missed_mm2 is None:
            return None
        return StripArea(self.inspected_mm2, self.degraded_mm2, self.missed_mm2)


class TimingBody(Message):
    """When the frame left each stage, in monotonic nanoseconds of the service's host. 0: it did not pass the stage.

    Monotonic time begins anew when the host does; `published_unix_ns - published_ns` turns it into Unix time.
    """

    captured_ns: Whole = 0
    queued_ns: Whole = 0
    screened_ns: Whole = 0
    predicted_ns: Whole = 0
    decided_ns: Whole = 0
    published_ns: Whole = 0
    published_unix_ns: Whole = 0

    @property
    def captured_unix_ns(self) -> int | None:
        """When the last line was taken, in Unix time; None where that is not known."""
        if not self.captured_ns or not self.published_unix_ns:
            return None
        return self.published_unix_ns - (self.published_ns - self.captured_ns)


class Envelope(Versioned):
    """The permanent name of a message: `(epoch, topic, sequence)`."""

    topic: Topic
    epoch: Count = Field(description="number of the service's start; each start has a higher one")
    sequence: Count = Field(description="number of the message in its topic and epoch, from 0 without gaps")


class Timed(Envelope):
    """A message about strip. `passage` identifies one passage of a coil; a coil's id may come again."""

    coil_ordinal: Count | None = Field(
        default=None,
        description="number of the coil in the epoch in which it began, until the next coil starts; null before the "
        "first",
    )
    coil_epoch: Count | None = Field(
        default=None, description="the epoch in which the coil began, where it goes on over a restart; null: this one"
    )
    timing: TimingBody

    @property
    def passage(self) -> tuple[int, int | None]:
        """The epoch in which the coil began, and its number there."""
        return (self.epoch if self.coil_epoch is None else self.coil_epoch), self.coil_ordinal


JournalId = Annotated[
    str | None,
    Field(
        pattern=r"^[0-9a-f-]{36}$",
        description="UUID of the journal: epochs and sequences of one journal mean nothing in another; null: not known",
    ),
]
Token = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
M = TypeVar("M", bound=BaseModel)
U = TypeVar("U")


_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical(fields: Any) -> bytes:
    """Encode as JSON with sorted keys and no spaces, so that equal values give equal bytes.

    Raises ValueError for NaN and infinity.
    """
    return _CANONICAL.encode(fields).encode()


def holds_nul(header: bytes) -> bool:
    """Return whether a text in this JSON holds a NUL character, which no database stores."""
    return rb"\u0000" in header and _holds_nul(json.loads(header))


def _holds_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_nul, (*value, *value.values())))
    return any(map(_holds_nul, value)) if isinstance(value, list) else isinstance(value, str) and "\0" in value


def parse(model: type[M], data: bytes | str) -> M:
    """Parse JSON into a model. Raises WireError, which names the first fault.

    Unknown keys are a fault, unless the writer has a newer minor version.
    """
    return _parse(model.model_validate_json, data)


def parse_one_of(models: TypeAdapter[U], data: bytes) -> U:
    """As `parse`, into one of several models."""
    return _parse(models.validate_json, data)


def _parse(validate: Callable[..., U], data: bytes | str) -> U:
    try:
        return validate(data)
    except ValidationError as error:
        fault = error
    if _has_keys_of_a_newer_minor(fault, data):
        try:
            return validate(data, extra="ignore")
        except ValidationError as error:
            fault = error
    raise WireError(explain(fault)) from fault


def _has_keys_of_a_newer_minor(fault: ValidationError, data: bytes | str) -> bool:
    unknown = (one["type"] == "extra_forbidden" for one in fault.errors(include_url=False, include_context=False))
    if not any(unknown):
        return False
    minor = json.loads(data).get("schema_minor")  # an object: it has keys
    return isinstance(minor, int) and minor > SCHEMA_MINOR


def explain(error: ValidationError) -> str:
    """Describe a validation error in one line; another schema version is named as such."""
    for fault in error.errors(include_url=False, include_context=False):
        if fault["loc"][-1:] == ("schema_version",) and fault["type"] == "literal_error":
            return f"schema version {fault['input']!r}; this side speaks {SCHEMA_VERSION}: upgrade the older one"
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "message"
    more = f" ({error.error_count()} faults in all)" if error.error_count() > 1 else ""
    return f"{where}: {first['msg'].removeprefix('Value error, ')}{more}"
