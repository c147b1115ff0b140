"""Requests to the serve socket, their replies, and the error reply of both sockets."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from linewatch.wire.schema.alarm import AlarmBody
from linewatch.wire.schema.base import Count, CoveredArea, JournalId, Message, Topic, Version, Versioned, Whole
from linewatch.wire.schema.bridge import BridgeReport
from linewatch.wire.schema.defect import DefectBody
from linewatch.wire.schema.picture import NewestPictureRequest
from linewatch.wire.schema.roll_mark import RollMarkBody
from linewatch.wire.schema.status import EngineStatus


class ReplayRequest(Message):
    """Asks for journaled messages of one topic from `from_sequence` on."""

    schema_version: Version
    request: Literal["replay"]
    id: Count = Field(default=0, description="repeated in the reply")
    topic: Topic
    epoch: Count
    from_sequence: Count
    to_sequence: Count | None = Field(default=None, description="the first message not wanted; null: up to the newest")


class SnapshotRequest(Message):
    """Asks for the service's current state."""

    schema_version: Version
    request: Literal["snapshot"]
    id: Count = Field(default=0, description="repeated in the reply")


class ReplayReply(Versioned):
    """The reply to `replay`, followed by `records` times (topic, header, payload) as they were published."""

    reply: Literal["replay"]
    id: Count
    topic: Topic
    epoch: Count
    records: Count
    more: bool = Field(description="there are more: ask again from the message after the last one")
    oldest: Count | None = Field(
        description="oldest sequence still in the journal; null: nothing of that epoch is kept"
    )
    next: Count | None = Field(description="the sequence after the newest message; null likewise")
    next_epoch: Count | None = Field(description="the next epoch with messages in the journal; null: there is none")
    oldest_epoch: Count = Field(description="oldest epoch with messages in the journal")
    journal_id: JournalId = None


class CurrentCoil(CoveredArea):
    """The coil under the camera, up to the last decided frame."""

    coil: str
    side: str
    camera: str
    along_mm: float = Field(description="end of the last decided frame")
    inspected_mm: float
    degraded_mm: float
    missed_mm: float
    missed_lines_by_cause: dict[str, Count]
    defects_by_class: dict[str, Count] = Field(
        description="number of defects by their newest class; merged defects count once"
    )


class Snapshot(Message):
    """The service's state after the last message of each topic. A consumer continues from `sequences`."""

    epoch: Count
    sequences: dict[str, Count] = Field(description="the next sequence of every journaled topic")
    coil: CurrentCoil | None
    open_defects: tuple[DefectBody, ...] = Field(description="open defects, without their masks")
    open_defects_left_out: Count = Field(description="number of open defects beyond what a snapshot holds")
    standing_alarms: tuple[AlarmBody, ...] = Field(description="alarms that ask for an operator")
    suppressed_or_shelved: tuple[AlarmBody, ...] = Field(
        default=(), description="active alarms that are held back, and shelved rules"
    )
    active_since_unix_ns: dict[str, Whole] = Field(
        default={},
        description="when each of these alarms became active, by its id; of one from before the service's last start, "
        "when it last changed before that",
    )
    roll_marks: tuple[RollMarkBody, ...] = Field(default=(), description="rows of roll marks that may still continue")
    engines: tuple[EngineStatus, ...]
    journal_id: JournalId = None


class SnapshotReply(Versioned):
    """The reply to `snapshot`."""

    reply: Literal["snapshot"]
    id: Count
    snapshot: Snapshot


class ErrorCode(StrEnum):
    """Why a request was refused."""

    BAD_REQUEST = "bad_request"
    TOO_LARGE = "too_large"
    NOT_KEPT = "not_kept"
    UNAVAILABLE = "unavailable"
    REFUSED = "refused"
    FORBIDDEN = "forbidden"  # the key's role does not allow it


class ErrorReply(Versioned):
    """The reply to a request that is refused: the reason."""

    reply: Literal["error"]
    id: Count
    error: ErrorCode
    text: str


Request = ReplayRequest | SnapshotRequest | NewestPictureRequest | BridgeReport
REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="request")])
