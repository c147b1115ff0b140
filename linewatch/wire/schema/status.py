"""Topic `status`."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from linewatch.contracts.frame import PositionFault
from linewatch.contracts.manifest import Task
from linewatch.contracts.verdict import Quality
from linewatch.wire.schema.base import Count, Envelope, Message, Topic
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


class PositionSource(StrEnum):
    """What positions along the strip come from."""

    ENCODER = "encoder"
    LINE_RATE = "line_rate"  # lines, pitch and line rate
    SIDECAR = "sidecar"  # what was recorded with each grab
    TIMESTAMPS = "timestamps"  # when each grab was taken, and the line rate


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


class StatusMessage(StatusBody, Envelope):
    """Topic `status`, not journaled: a missed one is not served again."""

    topic: Literal[Topic.STATUS]
    sequences: dict[str, Count] = Field(
        description="the next sequence of every journaled topic: shows a gap at the end of a topic that is silent now"
    )
