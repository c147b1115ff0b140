"""Topic `frame`."""

from typing import Literal

from pydantic import Field

from linewatch.contracts.frame import Cause, PositionFault
from linewatch.contracts.verdict import Quality
from linewatch.wire.schema.base import Count, IntervalMm, Message, Score, Timed, Topic
from linewatch.wire.schema.coil import CoilDataBody


class SpanBody(Message):
    """Lines that were all looked at in the same way."""

    first_line: Count
    lines: Count
    along_mm: IntervalMm
    quality: Quality
    cause: Cause | None = Field(description="why it was not inspected; null exactly when it was")


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


class FrameMessage(FrameBody, Timed):
    """Topic `frame`."""

    topic: Literal[Topic.FRAME]
