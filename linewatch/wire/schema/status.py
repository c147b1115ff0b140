"""Topic `status`."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from linewatch.contracts.camera import CameraState
from linewatch.contracts.frame import PositionFault, PositionSource
from linewatch.contracts.journal import JournalState
from linewatch.contracts.manifest import Task
from linewatch.contracts.picture import PictureQuantity, PictureReference
from linewatch.contracts.verdict import Quality
from linewatch.wire.schema.base import Count, CoveredArea, Envelope, JournalId, Message, Topic, Whole
from linewatch.wire.schema.bridge import BridgeStatus
from linewatch.wire.schema.coil import CoilDataBody


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
    queued: Count = Field(description="items waiting in its input queue")
    queue_size: Count
    done: Count = Field(
        description="what it has handled since the start: items of its queue, frames of the camera, or requests"
    )
    dropped: Count
    per_s: Annotated[float, Field(ge=0)] = Field(default=0.0, description="the same per second, over two seconds")
    feeds: tuple[str, ...] = Field(default=(), description="stages that take what it gives")


class EngineStatus(Message):
    """An engine in use."""

    role: str
    identity: str


class BesideState(StrEnum):
    """The state of an engine that was loaded beside the running ones."""

    LOADING = "loading"
    READY = "ready"  # inspects nothing, can be promoted
    COMPARED = "compared"  # inspects the same tiles as the running engine, can be promoted
    FAILED = "failed"  # could not be loaded


class EngineBeside(Message):
    """An engine beside the running ones; its results decide nothing.

    An engine calls a tile when it passes the screen, when a class reaches its threshold, or when a pixel is a defect,
    by its task. Two engines agree on a called tile when they call the same classes, or when their masks have an
    intersection over union of at least 0.5.
    """

    name: str
    state: BesideState
    role: str | None = None
    identity: str | None = None
    text: str | None = Field(default=None, description="why it could not be loaded")
    tiles: Count = Field(default=0, description="tiles that both engines inspected; none are compared under overload")
    agreed: Count = Field(default=0, description="tiles on which they agree, or that neither calls")
    running_only: Count = Field(default=0, description="tiles that the running engine alone calls")
    shadow_only: Count = Field(default=0, description="tiles that this engine alone calls")
    failed: Count = Field(default=0, description="tiles on which this engine failed")


class BackendState(StrEnum):
    """Whether the engines run on the configured backend."""

    SERVING = "serving"  # on the configured backend
    PREPARING = "preparing"  # on another one, while the configured one prepares its engines
    LOST = "lost"  # the configured one cannot be used; the engines run on another one, or on none


class BackendStatus(Message):
    """The backend that the engines run on."""

    name: str
    state: BackendState
    text: str | None = Field(default=None, description="why this is not the configured backend")


class PositionStatus(Message):
    """The source of positions, and whether they can be trusted now."""

    source: PositionSource
    encoded: bool = Field(
        description="true: the newest position comes from the encoder; false: it is computed from lines and pitch"
    )
    fault: PositionFault | None = Field(default=None, description="why the encoder is not trusted")
    repeated_lines: Count = Field(default=0, description="lines that ran back and passed again; they count once")


class CameraStatus(Message):
    """The camera, and whether it gives pictures."""

    serial: str = Field(description="its serial number, in a replay that of the recording's camera; empty: it has none")
    state: CameraState = CameraState.OPEN
    why: str | None = Field(default=None, description="why it is absent or lost; null: it is open")
    since_s: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="for how long it has been in this state; null: not known"
    )
    times_lost: Count = Field(default=0, description="since the service started")


class CoilStatus(Message):
    """The coil under the camera and what applies to it, as of the newest frame."""

    coil: str | None
    data: CoilDataBody | None = Field(
        description="the coil's data; null: none are known, and the default settings apply"
    )
    recipe: str | None = Field(description="the recipe that applies; null: the default settings")
    between_coils: bool
    notes: tuple[str, ...]
    known: Count = Field(description="number of coils whose data are kept, including coils that have passed")
    trouble: str | None = Field(
        default=None, description="what is wrong with an engine that a recipe names, or with the folder of coil data"
    )


class CropStatus(Message):
    """Pictures of defects since the service started."""

    made: Count
    waiting: Count = Field(description="closed defects whose crop is still to be made")
    not_made: Count = Field(
        description="defects that closed without a crop, because there were too many at once or no pixels"
    )


class JournalStatus(Message):
    """Whether decisions reach the journal's disk."""

    state: JournalState = Field(
        description="kept: they do; late: the disk is slow or hangs, and they are published before they are on it; "
        "lost: the disk refuses them"
    )
    why: str | None = Field(description="null: kept")
    held: Count = Field(description="messages in memory that are not on disk; they can be fetched all the same")
    held_mb: Annotated[float, Field(ge=0)]
    dropped: Count = Field(description="messages since the start that were published and are in no journal")


class CalibrationStatus(Message):
    """The calibration of the camera that gives the pictures now."""

    serial: str = Field(description="of the camera")
    identity: str = Field(description="as in the topic `frame`; empty: none is applied")
    made_unix_ns: dict[str, Whole] = Field(
        description="its parts, each with when it was made, in nanoseconds since 1970 (UTC)"
    )
    trouble: str | None = Field(
        default=None, description="why the calibration cannot be used; strip is missed (cause `calibration`) meanwhile"
    )
    following: str = Field(default="", description="identity of a newer one, which the next coil begins with; or empty")
    refused: str | None = Field(
        default=None, description="why a newer one is not taken up; the one before it stays in force"
    )


class ClockStatus(Message):
    """The wall clock of the service's host, by which coils are dated."""

    synchronised: bool | None = Field(
        description="whether something keeps the clock right (NTP, PTP), by the kernel; null: it does not say"
    )
    last_step_s: float = Field(
        description="by how much the clock was set last since the service started, forward above 0; 0: it was not set"
    )


class DiskStatus(Message):
    """A disk that is watched: the journal's, and those of `[system_alarms] disks`."""

    name: str
    free_mb: Annotated[float, Field(ge=0)]
    size_mb: Annotated[float, Field(ge=0)]
    low_mb: Annotated[float, Field(ge=0)] | None = Field(
        description="with less free, the alarm `disk-low` begins; null: it is off"
    )


class FaultStatus(Message):
    """One of the newest warnings and errors in the service's log. An event that came again is one fault."""

    event: str = Field(description="name of the event in the log")
    error: bool = Field(description="false: a warning")
    count: Count = Field(description="how often it came since the service started")
    first_unix_ns: Whole
    last_unix_ns: Whole
    over_unix_ns: Whole | None = Field(
        default=None, description="when it ended; null: it goes on, or the log does not say that it ended"
    )
    text: str = Field(description="what the newest event says")


class NormalStatus(Message):
    """What is known of the line's normal strip (`[decision] normal`), and how that drifted when strip was learned."""

    identity: str
    in_use: bool = Field(
        description="false: it belongs to another probability model than the engine's, and is left out"
    )
    learned_unix_ns: Whole = Field(description="when strip was last learned, in nanoseconds since 1970 (UTC)")
    m2: Annotated[float, Field(ge=0)] = Field(description="strip that it was learned from")
    false_per_m2: Annotated[float, Field(ge=0)] = Field(
        description="false defects told a square metre on the clean strip learned last, as it was known before"
    )
    trend: float | None = Field(
        description="false_per_m2 less that of the strips before; above 0, normal strip drifts; null: too few strips"
    )


class PictureReadingStatus(Message):
    """One figure of the picture, averaged over `[picture] within_m`. It is bad below its limit; with `high`, above."""

    quantity: PictureQuantity = Field(
        description="light: of the strip, or of the target beside it, by what it was; gray: gray level of the strip; "
        "segment: the darkest zone across, by what it was beside the others; saturation: share of the strip's pixels "
        "that are blown out; contrast: of the texture, by what it was; sharpness: of the texture; edge_sharpness: of "
        "the strip's edge; fixed: columns that show the camera, not the strip; frozen: share of the grabs that repeat "
        "an earlier one; vibration, wander: of the strip's edge, in millimetres, within a frame and from frame to frame"
    )
    value: float | None = Field(description="null: not known yet, or no edge is in view")
    reference: float | None = Field(description="what it was; null: not known yet")
    limit: float = Field(description="where its alarm begins, or strip is not inspected")
    high: bool
    bad: bool | None = Field(description="it is beyond its limit; null: not known")
    per_hour: float | None = Field(
        description="its slope over the last four hours at most; null: not distinct from noise"
    )
    limit_in_h: Annotated[float, Field(ge=0)] | None = Field(
        description="hours until it reaches its limit if it goes on so; null: it does not, or it is too far to be told"
    )
    place: str | None = Field(description="where it is worst; null: it has no place")


class PictureStatus(Message):
    """The health of the camera's picture, as of the newest frame that was measured."""

    reference: PictureReference = Field(
        description="what light across is compared with; learning: nothing yet; first_metres: the first metres since "
        "the service started; calibration: the camera's flat field"
    )
    measured: Count = Field(description="frames that were measured")
    strip_m: Annotated[float, Field(ge=0)] = Field(description="strip that has passed since the service started")
    readings: tuple[PictureReadingStatus, ...]


class JoinedCameraState(StrEnum):
    """Whether a camera of a joined strip inspects."""

    WAITING = "waiting"  # its service has not been heard yet
    INSPECTING = "inspecting"
    UNHEALTHY = "unhealthy"  # its service says so: it is blind, or a stage is silent
    SILENT = "silent"  # no heartbeat, or no answer


class JoinedCamera(Message):
    """One camera of a joined strip, as its service tells of it."""

    name: str = Field(description="SIDE/NAME")
    required: bool = Field(description="true: while it does not inspect, the joined heartbeat stands")
    state: JoinedCameraState
    text: str | None = Field(default=None, description="why it does not inspect; null: it does")
    heartbeat_age_s: Annotated[float, Field(ge=0)] | None = Field(description="null: none has been heard")
    late_s: Annotated[float, Field(ge=0)] = Field(description="age of its newest decision when that was received")
    coil: str | None
    along_mm: float | None
    journal_id: JournalId = None


class StatusBody(CoveredArea):
    """The heartbeat and the state of the service. The areas and lines are of the strip since it started."""

    heartbeat: Count = Field(
        description="counts while every stage ticks and the camera is there; while it does not change, nothing is "
        "inspected"
    )
    healthy: bool
    state: ServiceState
    failure: str | None = Field(description="the first failure; null: none")
    quality: Quality = Field(description="how the passing strip is inspected now")
    uptime_s: Annotated[float, Field(ge=0)]
    now_ns: Whole = Field(description="the host's monotonic clock, as in `timing`")
    now_unix_ns: Whole = Field(description="the same instant in nanoseconds since 1970 (UTC)")
    coil: str | None
    along_mm: float | None
    frames: Count
    frames_per_s: Annotated[float, Field(ge=0)]
    tiles_per_s: Annotated[float, Field(ge=0)]
    lines_by_quality: dict[str, Count]
    lines_by_cause: dict[str, Count] = Field(description="lines that were not inspected, by cause")
    uninspected_mm2_by_cause: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={}, description="the degraded and missed area by cause"
    )
    coverage: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="inspected share of the area of strip that passed; null: not known"
    )
    shed: tuple[Task, ...] = Field(
        default=(),
        description="tasks that are skipped now to keep up with the line, in the order in which they are skipped",
    )
    defects: Count = Field(description="defects opened since the service started")
    alarms_standing: Count
    alarms_unacknowledged: Count = Field(default=0, description="standing alarms that nobody has acknowledged")
    ring_free: Count = Field(description="free frame slots in the ring")
    ring_slots: Count
    stages: tuple[StageStatus, ...]
    engines: tuple[EngineStatus, ...]
    backend: BackendStatus | None = None
    beside: EngineBeside | None = Field(default=None, description="an engine that was loaded beside the running ones")
    camera_status: CameraStatus | None = Field(default=None, description="null: not known")
    position: PositionStatus | None = None
    coil_status: CoilStatus | None = None
    crops: CropStatus | None = Field(default=None, description="null: the service makes no crops")
    journal_id: JournalId = None
    normal: NormalStatus | None = Field(default=None, description="null: nothing is known of the line's normal strip")
    untold: Count = Field(
        default=0,
        description="decisions, status messages and crops that could not be published as they were, since a figure or "
        "a text was beyond what a message holds; the service's log says which",
    )
    calibration: CalibrationStatus | None = Field(
        default=None, description="null: the camera has no calibration, and frames are inspected as they come"
    )
    cameras: tuple[JoinedCamera, ...] = Field(
        default=(), description="of a joined strip (`linewatch strip`); empty: this is the service of one camera"
    )
    journal: JournalStatus | None = Field(default=None, description="null: a replay, which ends when its disk fails")
    picture: PictureStatus | None = Field(default=None, description="null: no frame has been measured yet")
    clock: ClockStatus | None = None
    deadline_ms: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="a frame's time limit, `[inference] deadline_ms`; null: a replay, which waits"
    )
    disks: tuple[DiskStatus, ...] = Field(default=(), description="empty: not measured yet, or one hangs")
    faults: tuple[FaultStatus, ...] = Field(
        default=(), description="the newest warnings and errors in the log, at most 12, the newest first"
    )
    software: dict[str, str] = Field(
        default={}, description="versions of linewatch, Python and the packages that the results depend on"
    )
    bridges: tuple[BridgeStatus, ...] = Field(default=(), description="to the plant; empty: none has reported")


class StatusMessage(StatusBody, Envelope):
    """Topic `status`, not journaled: a missed message cannot be replayed."""

    topic: Literal[Topic.STATUS]
    sequences: dict[str, Count] = Field(
        description="the next sequence of every journaled topic; it reveals a loss even in a topic that is silent now"
    )
