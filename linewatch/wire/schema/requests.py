"""The request socket: replay and snapshot, and the error reply that the command socket shares."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from linewatch.wire.schema.alarm import AlarmBody
from linewatch.wire.schema.base import Count, Message, Topic, Version
from linewatch.wire.schema.defect import DefectBody
from linewatch.wire.schema.roll_mark import RollMarkBody
from linewatch.wire.schema.status import EngineStatus


class ReplayRequest(Message):
    """Asks for kept records of one topic from `from_sequence` on."""

    schema_version: Version
    request: Literal["replay"]
    id: Count = Field(default=0, description="comes back in the reply")
    topic: Topic
    epoch: Count
    from_sequence: Count
    to_sequence: Count | None = Field(default=None, description="exclusive; null: to the newest")


class SnapshotRequest(Message):
    """Asks how things stand."""

    schema_version: Version
    request: Literal["snapshot"]
    id: Count = Field(default=0, description="comes back in the reply")


class ReplayReply(Message):
    """Followed by `records` x (topic, header, payload), as they were published."""

    schema_version: Version
    reply: Literal["replay"]
    id: Count
    topic: Topic
    epoch: Count
    records: Count
    more: bool = Field(description="ask again from behind the last record")
    oldest: Count | None = Field(description="oldest sequence still kept; null: nothing is kept of that epoch")
    next: Count | None = Field(description="the sequence behind the newest")
    next_epoch: Count | None = Field(
        description="the following epoch of which something is kept; null: this is the last"
    )
    oldest_epoch: Count = Field(description="of which something is kept")


class CoilSoFar(Message):
    """The coil under the camera, up to the last frame that was decided."""

    coil: str
    side: str
    camera: str
    along_mm: float = Field(description="the end of the last frame")
    inspected_mm: float
    degraded_mm: float
    missed_mm: float
    missed_lines_by_cause: dict[str, Count]
    defects_by_class: dict[str, Count] = Field(description="as each was last seen; merged ones count once")


class Snapshot(Message):
    """How things stand behind the last message of each topic: continue from `sequences`."""

    epoch: Count
    sequences: dict[str, Count] = Field(description="the next sequence of every journaled topic")
    coil: CoilSoFar | None
    open_defects: tuple[DefectBody, ...] = Field(description="without their masks")
    open_defects_left_out: Count = Field(description="more are open than a snapshot holds")
    standing_alarms: tuple[AlarmBody, ...] = Field(description="that ask for an operator")
    suppressed_or_shelved: tuple[AlarmBody, ...] = Field(
        default=(), description="active alarms that are held back, and the rules that are shelved"
    )
    roll_marks: tuple[RollMarkBody, ...] = Field(default=(), description="that are being followed")
    engines: tuple[EngineStatus, ...]


class SnapshotReply(Message):
    """How things stand."""

    schema_version: Version
    reply: Literal["snapshot"]
    id: Count
    snapshot: Snapshot


class ErrorCode(StrEnum):
    """Why a request got no answer."""

    BAD_REQUEST = "bad_request"
    TOO_LARGE = "too_large"
    NOT_KEPT = "not_kept"
    UNAVAILABLE = "unavailable"
    REFUSED = "refused"
    FORBIDDEN = "forbidden"  # to the key's role


class ErrorReply(Message):
    """What is wrong with a request."""

    schema_version: Version
    reply: Literal["error"]
    id: Count
    error: ErrorCode
    text: str


Request = ReplayRequest | SnapshotRequest
REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="request")])
