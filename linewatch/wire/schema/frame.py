"""Topic `frame`."""

from typing import Annotated, Literal

from pydantic import Field

from linewatch.contracts.frame import Cause, PositionFault
from linewatch.contracts.verdict import Quality
from linewatch.wire.schema.base import Count, CoveredArea, IntervalMm, Message, Mm, Score, Timed, Topic, Whole
from linewatch.wire.schema.coil import CoilDataBody


class SpanBody(CoveredArea):
    """Consecutive lines of the same quality, and the area of strip in them."""

    first_line: Count
    lines: Count
    along_mm: IntervalMm
    quality: Quality
    cause: Cause | None = Field(
        description="the main cause why the lines were not inspected; null exactly when they were"
    )
    uninspected_mm2_by_cause: dict[Cause, Annotated[float, Field(ge=0)]] = Field(
        default={}, description="the degraded and missed area by cause"
    )
    uninspected_mm2_by_camera: dict[str, dict[Cause, Annotated[float, Field(ge=0)]]] = Field(
        default={}, description="in the record of a strip of several cameras: the same area by `side/camera` and cause"
    )


class ColumnsBody(Message):
    """Where the columns of masks lie across the strip; a column is the place of its left side, and may be a fraction.

    Column c lies at offset_mm + (c + (1 - t^2) (a0 + a1 t + a2 t^2 ...)) mm_per_px, with t = 2 c / width_px - 1 and
    `distortion_px` = a0, a1, a2 ...
    """

    offset_mm: Mm = Field(description="of column 0, from the mill's datum")
    mm_per_px: float = Field(gt=0, le=1000, description="the mean over the whole width")
    width_px: int = Field(ge=1, le=1 << 20)
    distortion_px: Annotated[tuple[Annotated[float, Field(ge=-1e6, le=1e6)], ...], Field(max_length=16)] = Field(
        default=(), description="of the lens; empty: the columns lie evenly"
    )


class FrameBody(Message):
    """The decision on one frame of strip: its position, coverage and engines."""

    ordinal: Count = Field(description="number of the frame in this run, from 0 without gaps")
    camera_sequence: Whole = Field(description="the camera's own counter")
    coil: str
    side: str
    camera: str
    first_line: Count = Field(description="number of the frame's first line, counted from the head of the coil")
    lines: Count = Field(description="lines of strip that passed during this frame")
    valid_lines: Count = Field(description="how many of these lines, counted from the first, the camera delivered")
    along_mm: IntervalMm
    encoded: bool = Field(
        description="true: positions come from the encoder; false: they are computed from lines and pitch, because "
        "there is no encoder or it is not trusted"
    )
    strip_mm: IntervalMm | None = Field(
        description="positions of the strip's edges across; null when no strip could be inspected"
    )
    spans: tuple[SpanBody, ...] = Field(description="cover all lines of the frame without overlap")
    tiles: Count = Field(description="number of inspection tiles on the strip")
    tiles_passed: Count = Field(
        description="how many of them the screen passed on to the other engines, or an inspect engine outlined"
    )
    screen_peak: Score = Field(description="highest score of the screen engine in the frame")
    defect_ids: tuple[str, ...] = Field(description="ids of the defect messages that follow, in their order")
    alarm_ids: tuple[str, ...] = Field(description="ids of the alarm messages that follow, in their order")
    engines: tuple[str, ...] = Field(description="identities of the engines that inspected this frame")
    position_fault: PositionFault | None = Field(default=None, description="why the encoder is not trusted")
    coil_data: CoilDataBody | None = Field(
        default=None,
        description="the coil's data from this frame on, where they arrived or changed while the coil was running",
    )
    config: str = Field(
        default="", description="identity of the settings that apply from this frame on, where they changed; else empty"
    )
    calibration: str = Field(
        default="",
        description="the camera's calibration that was applied to the frame: its identity, a space, when its newest "
        "part was made (UTC, as 2026-11-30T08:15Z), a space, the camera's serial, by which its file is named; empty: "
        "none. In the record of a strip of several cameras: `SIDE/NAME`, a space and this of each, separated by `; `",
    )
    corrections: tuple[SpanBody, ...] = Field(
        default=(),
        description="in the record of a strip of several cameras: spans of earlier frames of the coil that take the "
        "place of those that were told of these lines, because a silent camera has told of them since",
    )
    corrected: tuple[SpanBody, ...] = Field(
        default=(),
        description="what was told of the lines of `corrections` before: sums over a coil add `corrections` and "
        "subtract `corrected`",
    )
    columns: ColumnsBody | None = Field(
        default=None, description="of the masks of the frame's defects; null in messages of before it was told"
    )

    @property
    def calibrations(self) -> tuple[str, ...]:
        """`calibration` of each camera."""
        return tuple(self.calibration.split("; ")) if self.calibration else ()

    @property
    def signed_spans(self) -> tuple[tuple[int, SpanBody], ...]:
        """What sums over a coil add (1) and subtract (-1) with this frame."""
        added = ((1, span) for span in (*self.spans, *self.corrections))
        return (*added, *((-1, span) for span in self.corrected))


class FrameMessage(FrameBody, Timed):
    """Topic `frame`."""

    topic: Literal[Topic.FRAME]
