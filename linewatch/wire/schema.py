"""Every message on the wire and every line of a verdict file: closed, versioned models.

Positions are strip millimetres, *along* from the head of the coil and *across* from the mill's datum; intervals are
half-open. Numbers are rounded when they are encoded: millimetres to 3 decimals, scores to 4. What may differ between
two replays of one recording stands under `timing`, and in the envelope.
"""

import json
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, TypeAdapter, ValidationError, model_validator

from linewatch.contracts.alarm import AlarmAction, AlarmChange, AlarmState, Priority, ShelvingState
from linewatch.contracts.errors import WireError
from linewatch.contracts.frame import Cause, PositionFault, PositionSource
from linewatch.contracts.manifest import Task
from linewatch.contracts.verdict import CoilState, DefectState, Extent, Quality, RollMarkState

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

Count = Annotated[int, Field(ge=0)]
Score = Annotated[float, Field(ge=0, le=1)]
Severity = Annotated[int, Field(ge=1, le=5, description="1: hardly seen, 5: never delivered")]
IntervalMm = tuple[float, float]
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


class SpanBody(Message):
    """Lines that were all looked at in the same way."""

    first_line: Count
    lines: Count
    along_mm: IntervalMm
    quality: Quality
    cause: Cause | None = Field(description="why it was not inspected; null exactly when it was")


CoilId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Words = Annotated[str, Field(min_length=1, max_length=64)]


class CoilDataBody(Message):
    """What the mill (Level 2) knows of one coil, by a file, by a command, in a message. Null: not told."""

    coil: CoilId
    steel_grade: Words | None = None
    product: Words | None = None
    customer: Words | None = None
    thickness_mm: Annotated[float, Field(ge=0.01, le=100)] | None = None
    width_mm: Annotated[float, Field(ge=10, le=3_000)] | None = None
    length_mm: Annotated[float, Field(ge=100, le=5e7)] | None = Field(
        default=None, description="of the strip that will pass; then the tail is known before it comes"
    )
    head_crop_mm: Annotated[float, Field(ge=0, le=1e6)] | None = Field(
        default=None, description="cut off before delivery: excluded, where the recipe does not exclude more"
    )
    tail_crop_mm: Annotated[float, Field(ge=0, le=2e5)] | None = None

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        if not self.model_dump(exclude_none=True, exclude={"coil"}):
            raise ValueError(f"nothing is told of coil {self.coil}; give at least one of its data")
        crops_mm = (self.head_crop_mm or 0.0) + (self.tail_crop_mm or 0.0)
        if self.length_mm is not None and crops_mm >= self.length_mm:
            raise ValueError(
                f"head_crop_mm and tail_crop_mm are {crops_mm:g} together, the coil's length_mm is {self.length_mm:g}: "
                "nothing would be left of it"
            )
        return self


class FrameBody(Message):
    """What is known of one frame of strip once it has been decided."""

    ordinal: Count = Field(description="of the frame in this run, from 0 without gaps")
    camera_sequence: int = Field(description="the camera's own counter")
    coil: str
    side: str
    camera: str
    first_line: Count = Field(description="since the head of the coil")
    lines: Count = Field(description="that passed")
    valid_lines: Count = Field(description="of them, the leading ones that the camera delivered")
    along_mm: IntervalMm
    encoded: bool = Field(description="false: no encoder, or not believed: positions derive from lines and pitch")
    strip_mm: IntervalMm | None = Field(description="the strip's edges across; null when there was nothing to look at")
    spans: tuple[SpanBody, ...] = Field(description="tile the frame's lines without overlap")
    tiles: Count = Field(description="on the strip")
    tiles_passed: Count = Field(description="by the screen to the heavier engines")
    screen_peak: Score
    defect_ids: tuple[str, ...] = Field(description="of the defect messages that follow, in their order")
    alarm_ids: tuple[str, ...] = Field(description="of the alarm messages that follow, in their order")
    engines: tuple[str, ...] = Field(description="identities of the engines that served this frame")
    position_fault: PositionFault | None = Field(default=None, description="why the encoder is not believed")
    coil_data: CoilDataBody | None = Field(
        default=None, description="that hold from this frame on, where they came or changed while the coil runs"
    )
    config: str = Field(
        default="", description="identity of the settings that decide from this frame on, where they changed"
    )


class MaskBody(Message):
    """The defect's mask in this frame; its runs are the message's payload."""

    first_line: Count = Field(description="strip line from which the runs' lines count")
    runs: Annotated[int, Field(ge=0, le=MAX_MASK_RUNS)]


class DefectBody(Message):
    """A step in one defect's life; its figures are those of the whole defect as known so far."""

    state: DefectState
    id: str
    ordinal: Count | None = Field(description="of the frame that brought this step; null at the end of the coil")
    coil: str
    side: str
    camera: str
    defect_class: str
    confidence: Score
    peak: Score = Field(description="highest defect probability in it")
    across_mm: IntervalMm
    along_mm: IntervalMm
    area_mm2: Annotated[float, Field(ge=0)]
    edge_mm: float | None = Field(description="from the nearest strip edge that was seen; null when none was")
    extent: Extent
    frames: Count = Field(description="that it spans")
    class_scores: dict[str, Score] = Field(default={}, description="of the most likely classes")
    length_mm: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="of the rectangle with the outline's second moments, whatever way it lies"
    )
    width_mm: Annotated[float, Field(ge=0)] = 0.0
    orientation_deg: Annotated[float, Field(gt=-90, le=90)] = Field(
        default=0.0, description="of the length: 0 along the strip, 90 across; positive: across grows with along"
    )
    contrast: Annotated[float, Field(ge=-1, le=1)] | None = Field(
        default=None, description="mean gray less that of the steel around it, of full scale; null when not known"
    )
    part_of: str | None = Field(default=None, description="first part of a defect so long that it is closed in parts")
    merged_into: str | None = Field(description="the defect that this one grew into; only when closed")
    mask: MaskBody | None = Field(description="null when this frame adds nothing; the payload is empty then")
    mask_dropped: bool = Field(default=False, description="there was a mask, of more runs than a message may hold")
    severity: Severity | None = Field(default=None, description="by the grading rules; null: not graded")
    tentative: bool = Field(
        default=False,
        description="below what its class must reach to be called (`[decision] operating_point`): it neither grades "
        "nor alarms",
    )
    excluded: bool = Field(
        default=False,
        description="all of it lies in an excluded end: it neither grades nor alarms",
    )


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


class GradeReasonBody(Message):
    """A limit of the grading rules that a coil exceeds."""

    rule: str
    grade: str = Field(description="that the rule gives")
    text: str
    defect_ids: tuple[str, ...] = Field(description="the worst of the defects that it is about, at most 8")


class GradeBody(Message):
    """What a coil is worth by one file of rules. Strip that was not inspected may hold anything."""

    grade: str = Field(description="`ungraded`: next to nothing was inspected")
    text: str
    rules: str = Field(description="name@digest of the rules' content")
    product: str
    customer: str
    graded_mm: IntervalMm = Field(description="the coil without its excluded ends")
    inspected_share: Score = Field(description="of the graded length, rounded down")
    defects_by_severity: dict[str, Count] = Field(description="of the graded length; pseudo-defects have none")
    reasons: tuple[GradeReasonBody, ...] = Field(description="worst grade first")


class CoilBody(Message):
    """A coil begins or has ended. inspected_mm + degraded_mm + missed_mm is the length that passed."""

    state: CoilState
    coil: str
    side: str
    camera: str
    along_mm: float
    inspected_mm: float
    degraded_mm: float
    missed_mm: float
    missed_lines_by_cause: dict[str, Count]
    defects_by_class: dict[str, Count]
    defect_ids: tuple[str, ...] = Field(description="of the defect messages that follow, in their order")
    alarm_ids: tuple[str, ...] = Field(description="of the alarm messages that follow, in their order")
    grade: GradeBody | None = Field(default=None, description="at the end, where the service has grading rules")
    data: CoilDataBody | None = Field(default=None, description="of the coil, as far as known; null: it had none")
    recipe: str | None = Field(default=None, description="by which it is inspected; null: the default")
    head_excluded_mm: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="the excluded ends; a defect wholly within them neither grades nor alarms"
    )
    tail_excluded_mm: Annotated[float, Field(ge=0)] = 0.0
    between_coils: bool = Field(default=False, description="strip behind a coil that was ended by order: no alarms")
    notes: tuple[str, ...] = Field(default=(), description="what one should know, such as why it is the default")
    source_coil: str = Field(default="", description="what the source calls it, and where in that it begins")
    source_line: Count = 0


class RollSuspectBody(Message):
    """A configured roll that would leave marks at such a pitch."""

    roll: str
    stand: str
    pitch_mm: IntervalMm = Field(description="of its marks, over its range of diameter and the error of its slip")
    diameter_mm: IntervalMm = Field(description="that it has if it is the one")
    turns: Annotated[int, Field(ge=1)] = Field(description="of the roll from mark to mark")
    share: Score = Field(description="of the likelihood among all suspects")


class RollMarkBody(Message):
    """Defects that come back at one cross position with a constant pitch; the whole row as known so far."""

    state: RollMarkState
    id: str
    ordinal: Count | None = Field(description="of the frame that brought this step; null at the end of the coil")
    coil: str
    side: str
    camera: str
    defect_class: str = Field(description="the most frequent of its marks")
    pitch_mm: Annotated[float, Field(gt=0)]
    pitch_error_mm: Annotated[float, Field(ge=0)] = Field(description="standard error")
    confidence: Score = Field(description="1 - the number of such rows that chance would give on 100 km of such strip")
    marks: Count = Field(description="seen")
    marks_due: Count = Field(description="from the first to the newest, the missed ones included")
    across_mm: IntervalMm
    along_mm: IntervalMm = Field(description="from its first mark to its newest")
    defect_ids: tuple[str, ...] = Field(description="of its newest marks, in order along")
    suspects: tuple[RollSuspectBody, ...] = Field(description="likeliest first; empty when no roll would do this")


class CropBody(Message):
    """A picture of a defect that has closed, by the frame that showed most of it; the payload is a gray PNG.

    Pixel (row, column) is strip line `first_line + row / scale`, camera column `left_px + column / scale`: so the
    defect's masks lie on it.
    """

    id: str = Field(description="of the defect")
    ordinal: Count = Field(description="of the frame")
    coil: str
    side: str
    camera: str
    defect_class: str
    severity: Severity | None
    area_mm2: Annotated[float, Field(ge=0)] = Field(description="of the defect")
    across_mm: IntervalMm = Field(description="that the picture shows")
    along_mm: IntervalMm
    first_line: Count
    lines: Annotated[int, Field(ge=1)]
    left_px: Count
    columns: Annotated[int, Field(ge=1)]
    scale: Annotated[float, Field(gt=0, le=1)] = Field(description="picture pixels per camera pixel, both ways")
    png_bytes: Annotated[int, Field(ge=1, le=MAX_PAYLOAD_BYTES)]


class ServiceState(StrEnum):
    """What the service is doing."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    FAILED = "failed"


class StageState(StrEnum):
    """What one stage is doing."""

    STARTING = "starting"
    TICKING = "ticking"
    LATE = "late"  # has not ticked within its deadline
    DONE = "done"
    FAILED = "failed"


class StageStatus(Message):
    """One stage of the service."""

    name: str
    state: StageState
    tick_age_ms: Annotated[float, Field(ge=0)]
    deadline_ms: Annotated[float, Field(ge=0)] = Field(description="an older tick makes the service unhealthy")
    queued: Count = Field(description="items that wait for it")
    queue_size: Count
    done: Count
    dropped: Count


class EngineStatus(Message):
    """An engine that serves."""

    role: str
    identity: str


class BesideState(StrEnum):
    """How far an engine is that was loaded beside the running ones."""

    LOADING = "loading"
    READY = "ready"  # looks at nothing, can be promoted
    COMPARED = "compared"  # looks at what the running engine looks at, can be promoted
    FAILED = "failed"  # was not loaded


class EngineBeside(Message):
    """An engine beside the running ones. It decides nothing. A tile is called when it passes the screen, when a class
    is claimed, when a pixel is defect; alike: with the same classes, with an intersection over union of 0.5 or more.
    """

    name: str
    state: BesideState
    role: str | None = None
    identity: str | None = None
    text: str | None = Field(default=None, description="why it was not loaded")
    tiles: Count = Field(default=0, description="that both looked at; none under overload")
    agreed: Count = Field(default=0, description="called by both alike, or by neither")
    running_only: Count = Field(default=0, description="called by the running engine alone")
    shadow_only: Count = Field(default=0, description="called by this engine alone")
    failed: Count = Field(default=0, description="tiles of which it gave no answer")


class BackendState(StrEnum):
    """Whether the engines run where they should."""

    SERVING = "serving"  # on the configured backend
    PREPARING = "preparing"  # on another one, while the configured one makes its engines ready
    LOST = "lost"  # on another one, or on none that works: the configured one cannot be used


class BackendStatus(Message):
    """What the engines run on."""

    name: str
    state: BackendState
    text: str | None = Field(default=None, description="why it is not the configured one")


class PositionStatus(Message):
    """Where positions come from, and how good they are now."""

    source: PositionSource
    encoded: bool = Field(description="of the newest grab; false: positions derive from lines and pitch")
    fault: PositionFault | None = Field(default=None, description="why the encoder is not believed")
    repeated_lines: Count = Field(default=0, description="strip that ran back and came again; it counts once")


class CoilStatus(Message):
    """By what the coil under the camera is inspected, as the newest frame was."""

    coil: str | None
    data: CoilDataBody | None = Field(description="null: none are known, it runs on the default")
    recipe: str | None = Field(description="null: the default")
    between_coils: bool
    notes: tuple[str, ...]
    known: Count = Field(description="coils of which data are kept, those that passed included")
    trouble: str | None = Field(default=None, description="of an engine that a recipe names, or of the data's folder")


class CropStatus(Message):
    """Pictures of defects since the start."""

    made: Count
    waiting: Count = Field(description="defects that have closed")
    not_made: Count = Field(description="too many defects at once, or no pixels: they have closed without a picture")


class StatusBody(Message):
    """The heartbeat, and how the service is."""

    heartbeat: Count = Field(description="counts only while every stage ticks: when it stands still, nobody is looking")
    healthy: bool
    state: ServiceState
    failure: str | None = Field(description="the first failure, in words")
    quality: Quality = Field(description="how strip is looked at now")
    uptime_s: Annotated[float, Field(ge=0)]
    now_ns: int = Field(description="the host's monotonic clock, the one of `timing`")
    now_unix_ns: int = Field(description="the same instant on the wall clock")
    coil: str | None
    along_mm: float | None
    frames: Count
    frames_per_s: Annotated[float, Field(ge=0)]
    tiles_per_s: Annotated[float, Field(ge=0)]
    lines_by_quality: dict[str, Count]
    lines_by_cause: dict[str, Count] = Field(description="that were not inspected")
    shed: tuple[Task, ...] = Field(
        default=(), description="work that is left out now to keep up with the line, in the order in which it is shed"
    )
    defects: Count = Field(description="opened since the start")
    alarms_standing: Count
    alarms_unacknowledged: Count = Field(default=0, description="of those that stand")
    ring_free: Count = Field(description="frame slots")
    ring_slots: Count
    stages: tuple[StageStatus, ...]
    engines: tuple[EngineStatus, ...]
    backend: BackendStatus | None = None
    beside: EngineBeside | None = Field(default=None, description="an engine that is tried beside them")
    position: PositionStatus | None = None
    coil_status: CoilStatus | None = None
    crops: CropStatus | None = Field(default=None, description="null: the service makes no pictures")


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


class FrameMessage(FrameBody, Timed):
    """Topic `frame`."""

    topic: Literal[Topic.FRAME]


class DefectMessage(DefectBody, Timed):
    """Topic `defect`. `runs` holds the mask, decoded from the payload."""

    topic: Literal[Topic.DEFECT]
    _runs: np.ndarray = PrivateAttr(default_factory=lambda: np.empty((0, 3), np.int32))

    @property
    def runs(self) -> np.ndarray:
        """int32 (n, 3), rows (line, start_px, stop_px): line from `mask.first_line`, columns [start, stop)."""
        return self._runs


class AlarmMessage(AlarmBody, Timed):
    """Topic `alarm`."""

    topic: Literal[Topic.ALARM]


class CoilMessage(CoilBody, Timed):
    """Topic `coil`."""

    topic: Literal[Topic.COIL]
    config: str = Field(default="", description="identity of the settings that decide; empty: not told")


class RollMarkMessage(RollMarkBody, Timed):
    """Topic `roll_mark`."""

    topic: Literal[Topic.ROLL_MARK]


class CropMessage(CropBody, Timed):
    """Topic `crop`, not journaled: a missed one is not served again. `png` holds the picture, from the payload."""

    topic: Literal[Topic.CROP]
    _png: bytes = PrivateAttr(default=b"")

    @property
    def png(self) -> bytes:
        """The picture's file."""
        return self._png


class StatusMessage(StatusBody, Envelope):
    """Topic `status`, not journaled: a missed one is not served again."""

    topic: Literal[Topic.STATUS]
    sequences: dict[str, Count] = Field(
        description="the next sequence of every journaled topic: shows a gap at the end of a topic that is silent now"
    )


AnyMessage = FrameMessage | DefectMessage | AlarmMessage | CoilMessage | RollMarkMessage | StatusMessage | CropMessage

_MODELS: dict[str, type[AnyMessage]] = {
    Topic.FRAME: FrameMessage,
    Topic.DEFECT: DefectMessage,
    Topic.ALARM: AlarmMessage,
    Topic.COIL: CoilMessage,
    Topic.ROLL_MARK: RollMarkMessage,
    Topic.STATUS: StatusMessage,
    Topic.CROP: CropMessage,
}


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


Token = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")]


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


Request = ReplayRequest | SnapshotRequest
Command = EngineCommand | AlarmRequest | CoilRequest | RulesRequest
Reply = ReplayReply | SnapshotReply | EngineReply | AlarmReply | CoilReply | RulesReply | ErrorReply

REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="request")])
COMMAND: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="request")])
REPLY: TypeAdapter[Reply] = TypeAdapter(Annotated[Reply, Field(discriminator="reply")])


class DefectLine(DefectBody):
    """A defect in a verdict file: its mask's runs stand in the line itself."""

    runs: tuple[int, ...] = Field(description="line, start_px, stop_px, line, start_px, ...")


class VerdictLine(FrameBody):
    """One frame in a verdict file."""

    kind: Literal["verdict"] = "verdict"
    defects: tuple[DefectLine, ...]
    alarms: tuple[AlarmBody, ...]
    roll_marks: tuple[RollMarkBody, ...] = ()
    timing: TimingBody


class CoilLine(CoilBody):
    """The beginning or the end of a coil in a verdict file."""

    kind: Literal["coil"] = "coil"
    defects: tuple[DefectLine, ...]
    alarms: tuple[AlarmBody, ...]
    roll_marks: tuple[RollMarkBody, ...] = ()
    timing: TimingBody


class AlarmsLine(Message):
    """Alarms' transitions that no frame brought, in a verdict file: a command's, or of what the host tells."""

    kind: Literal["alarms"] = "alarms"
    defects: tuple[DefectLine, ...] = Field(default=(), description="none, ever: every line has them")
    alarms: tuple[AlarmBody, ...]
    timing: TimingBody


Line = VerdictLine | CoilLine | AlarmsLine

LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="kind")])

M = TypeVar("M", bound=BaseModel)
_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


def canonical(fields: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values, equal bytes. Raises ValueError for NaN and infinity."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def encode_runs(runs: np.ndarray) -> bytes:
    """Payload of a defect: little-endian int32 triples (line, start_px, stop_px)."""
    return np.ascontiguousarray(runs, "<i4").tobytes()


def decode_runs(payload: bytes) -> np.ndarray:
    """int32 (n, 3) of a payload. Raises WireError when it is no mask: too large, ragged, unsorted or overlapping."""
    if len(payload) > MAX_PAYLOAD_BYTES or len(payload) % 12:
        raise WireError(f"a mask of {len(payload)} bytes; expected int32 triples, at most {MAX_MASK_RUNS} of them")
    runs = np.frombuffer(payload, "<i4").reshape(-1, 3)
    line, start, stop = runs.T
    ascends = (line[1:] > line[:-1]) | ((line[1:] == line[:-1]) & (start[1:] >= stop[:-1]))
    if (runs < 0).any() or (start >= stop).any() or not ascends.all():
        raise WireError("a mask whose runs are not sorted, half-open and disjoint")
    return runs


def decode(topic: bytes, header: bytes, payload: bytes) -> AnyMessage:
    """A message from its three parts. Raises WireError when it is not one of ours, or of another schema version."""
    model = _MODELS.get(topic.decode("ascii", "replace"))
    if model is None:
        raise WireError(f"a message on topic {topic[:32]!r}; expected one of {', '.join(Topic)}")
    if len(header) > MAX_HEADER_BYTES:
        raise WireError(f"a header of {len(header)} bytes; at most {MAX_HEADER_BYTES} are read")
    message = parse(model, header)
    if isinstance(message, DefectMessage):
        runs = decode_runs(payload)
        if len(runs) != (message.mask.runs if message.mask else 0):
            raise WireError(f"defect {message.id} came with {len(runs)} runs; its header says {message.mask}")
        message._runs = runs
    elif isinstance(message, CropMessage):
        if len(payload) != message.png_bytes or not payload.startswith(_PNG_SIGNATURE):
            raise WireError(f"a crop whose payload is no PNG of {message.png_bytes} bytes, as its header says")
        message._png = payload
    elif payload:
        raise WireError(f"a {message.topic} message with a payload of {len(payload)} bytes; expected none")
    return message


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
