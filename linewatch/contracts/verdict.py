"""Decisions: defects, coverage, grades, roll marks, and the verdicts and coil notices that carry them.

Positions are millimetres on the strip: *along* from the head of the coil, *across* from the mill's datum (the camera's
first pixel plus its configured offset). Intervals are half-open. The decision room makes all of these.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, Self

import numpy as np
from pydantic import Field

from linewatch.contracts.across import AcrossMap
from linewatch.contracts.alarm import Alarm, AlarmNotice
from linewatch.contracts.bounds import Count, IntervalMm, Score, Severity
from linewatch.contracts.coil import CoilConditions, CoilData
from linewatch.contracts.frame import Cause, PositionFault
from linewatch.contracts.prediction import Timing
from linewatch.contracts.restart import SourcePlace, StripGap

_TOUCHING_MM = 0.0015
"""Ends of spans are rounded to 0.001 mm."""


class Quality(StrEnum):
    """How a span of strip was inspected. "No defect" and "not inspected" are never the same message."""

    INSPECTED = "inspected"
    DEGRADED = "degraded"  # screened, perhaps classified, not segmented
    MISSED = "missed"


@dataclass(frozen=True, slots=True)
class StripArea:
    """Area of strip by how it was inspected, in mm2 rounded to 0.001. The three together are the area that passed.

    Inspected is what the screen scored and, where that asked for it, was classified and outlined; degraded is what was
    scored only. What was not scored is missed, for whatever reason.
    """

    inspected_mm2: float = 0.0
    degraded_mm2: float = 0.0
    missed_mm2: float = 0.0

    @property
    def passed_mm2(self) -> float:
        """The area that passed."""
        return self.inspected_mm2 + self.degraded_mm2 + self.missed_mm2

    def plus(self, other: "StripArea", sign: int = 1) -> "StripArea":
        """Return the sum of both; with sign -1, the difference, of which no part is below 0."""
        return StripArea(
            max(0.0, self.inspected_mm2 + sign * other.inspected_mm2),
            max(0.0, self.degraded_mm2 + sign * other.degraded_mm2),
            max(0.0, self.missed_mm2 + sign * other.missed_mm2),
        )

    @property
    def all_missed(self) -> "StripArea":
        """The same area, none of it looked at."""
        return StripArea(missed_mm2=self.passed_mm2)


@dataclass(frozen=True, slots=True)
class CoverageSpan:
    """`lines` lines from `first_line` of one quality. The spans of a coil cover its length without overlap.

    area: of strip in these lines; None in records of before it was kept. A span of any quality may have area of every
    kind: lines are inspected when nearly all of their width was. uninspected_mm2: the degraded and missed area by
    cause, sorted; empty where spans were joined. by_camera: in the record of a strip of several cameras, the same as
    (side/camera, cause, area), sorted.
    """

    first_line: int
    lines: int
    along_mm: tuple[float, float]
    quality: Quality
    cause: Cause | None  # the main cause; None exactly when the quality is inspected
    area: StripArea | None = None
    uninspected_mm2: tuple[tuple[Cause, float], ...] = ()
    by_camera: tuple[tuple[str, Cause, float], ...] = ()

    @property
    def length_mm(self) -> float:
        """Length along the strip."""
        return self.along_mm[1] - self.along_mm[0]

    @property
    def inspected_share(self) -> float:
        """Inspected share of the area; where that is not known, 1 or 0 by the quality."""
        if self.area is None or not self.area.passed_mm2:
            return float(self.quality is Quality.INSPECTED)
        return self.area.inspected_mm2 / self.area.passed_mm2

    def joined(self, span: Self) -> Self | None:
        """Return both as one span if `span` begins where this one ends with the same quality and cause, else None."""
        touches = self.first_line + self.lines == span.first_line
        touches = touches and abs(self.along_mm[1] - span.along_mm[0]) < _TOUCHING_MM
        if not touches or (self.quality, self.cause) != (span.quality, span.cause):
            return None
        area = None if self.area is None or span.area is None else self.area.plus(span.area)
        along_mm = self.along_mm[0], span.along_mm[1]
        return replace(
            self, lines=self.lines + span.lines, along_mm=along_mm, area=area, uninspected_mm2=(), by_camera=()
        )


@dataclass(frozen=True, slots=True)
class StripBox:
    """A rectangle on the strip in millimetres."""

    across_mm: IntervalMm
    along_mm: IntervalMm

    @classmethod
    def hull(cls, boxes: Iterable[Self]) -> Self:
        """Return the smallest rectangle that contains these. Raises ValueError for none."""
        across, along = zip(*((box.across_mm, box.along_mm) for box in boxes), strict=True)
        return cls(_span(across), _span(along))


def _span(pairs: Iterable[tuple[float, float]]) -> tuple[float, float]:
    begins, ends = zip(*pairs, strict=True)
    return min(begins), max(ends)


@dataclass(frozen=True, slots=True)
class RunMask:
    """Run-length mask in strip lines and camera columns.

    runs: int32 (n, 3), rows (line, start_px, stop_px) sorted; `line` counts from `first_line`; [start, stop) half-open.
    """

    first_line: int
    runs: np.ndarray


class DefectState(StrEnum):
    """A step in a defect's life."""

    OPENED = "opened"
    UPDATED = "updated"
    CLOSED = "closed"


class Extent(StrEnum):
    """The source of a defect's outline."""

    MASK = "mask"  # the segmenter's mask
    TILE = "tile"  # the classifier's tile: the class has no masks, or the segmenter found none


@dataclass(frozen=True, slots=True)
class Defect:
    """One physical defect instance, merged over tiles and frames; the whole of it as known so far.

    Its fields are declared here and nowhere else: the wire's body, the history's columns and the tables of reports
    derive from them by `contracts.defect_fields`. A `Field` holds the bounds and the description on the wire.
    """

    id: str  # stable; made of coil, side, camera, line and column where it was first seen
    coil: str
    side: str
    camera: str
    defect_class: str
    confidence: Score  # the class's score, weighted by area over the tiles that it covers
    peak: Annotated[Score, Field(description="highest probability of a defect at any of its pixels")]
    box: StripBox
    area_mm2: Annotated[float, Field(ge=0)]
    edge_mm: Annotated[
        float | None, Field(description="distance to the nearest visible strip edge; null: none visible")
    ]
    extent: Extent
    frames: Annotated[Count, Field(description="number of frames that it spans")]
    probability: Annotated[Score, Field(description="that the whole of it is a true defect")]
    # The highest scores, weighted alike, highest first.
    class_scores: Annotated[tuple[tuple[str, Score], ...], Field(description="of the most likely classes")] = ()
    length_mm: Annotated[
        float,
        Field(ge=0, description="length of the rectangle that has the outline's second moments"),
    ] = 0.0
    width_mm: Annotated[float, Field(ge=0)] = 0.0
    orientation_deg: Annotated[  # see `geometry.moments`
        float,
        Field(
            gt=-90,
            le=90,
            description="angle of the length: 0 along the strip, 90 across; positive: across grows with along",
        ),
    ] = 0.0
    contrast: Annotated[
        Annotated[float, Field(ge=-1, le=1)] | None,
        Field(
            description="mean gray level of the defect minus that of the surrounding steel, as a share of full scale; "
            "null: not known"
        ),
    ] = None
    part_of: Annotated[
        str | None,
        Field(description="first part of a defect so long that it is closed in parts"),
    ] = None
    severity: Annotated[Severity | None, Field(description="by the grading rules; null: not graded")] = None
    tentative: Annotated[
        bool,
        Field(
            description="its probability is below that from which it is called (`[decision] call_probability`): it "
            "neither grades nor alarms"
        ),
    ] = False
    excluded: Annotated[
        bool,
        Field(description="all of it lies in an excluded end: it neither grades nor alarms"),
    ] = False
    evidence: Annotated[
        tuple[tuple[str, float], ...],
        Field(description="what its probability was told from, by name, as its largest piece shows it"),
    ] = ()


@dataclass(frozen=True, slots=True)
class DefectEvent:
    """A step in a defect's life. Closed defects that grew into another name it in `merged_into`."""

    state: DefectState
    defect: Defect
    mask: RunMask | None  # the part in this verdict's frame; None when this frame adds nothing
    merged_into: str | None = None
    parts: tuple[str, ...] = field(default=(), compare=False)
    """Of a closed defect of a joined strip: the ids of the cameras' defects, the largest first. Not on the wire."""


class RollMarkState(StrEnum):
    """A step in the life of a row of roll marks."""

    RECOGNISED = "recognised"
    UPDATED = "updated"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class RollSuspect:
    """A configured roll that would leave marks at this pitch."""

    roll: str
    stand: str
    pitch_mm: tuple[float, float]  # range for its range of diameters and the tolerance of its slip
    diameter_mm: tuple[float, float]  # the diameter that it has if it made the marks
    turns: int  # turns of the roll from one mark to the next; above 1, most turns leave no visible mark
    share: float  # share of the likelihood among all suspects, 0..1


@dataclass(frozen=True, slots=True)
class RollMark:
    """Defects that repeat at one cross position with a constant pitch: the whole row of marks as known so far."""

    id: str  # does not change; made of its first mark's id
    state: RollMarkState
    coil: str
    side: str
    camera: str
    defect_class: str  # the most frequent class of its marks
    pitch_mm: float
    pitch_error_mm: float  # standard error of the pitch
    confidence: float  # 1 - number of such rows expected by chance on 100 km of such strip; 0..1
    marks: int  # marks found
    marks_due: int  # marks expected from the first to the newest, including missing ones
    across_mm: tuple[float, float]  # extent of its marks
    along_mm: tuple[float, float]  # from the first mark to the newest
    defect_ids: tuple[str, ...]  # ids of the newest marks, in order along the strip
    suspects: tuple[RollSuspect, ...]  # most likely first


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on one frame. There is one for each `Frame`, in strip order; see `Frame` for its first fields.

    corrections: in the record of a strip of several cameras, spans of earlier frames of the coil that take the place
    of those that were told of these lines, because a camera that was silent then has told of them since. corrected:
    what these were, of the same lines.
    """

    ordinal: int
    sequence: int
    coil: str
    side: str
    camera: str
    first_line: int
    lines: int
    valid_lines: int
    along_mm: tuple[float, float]
    encoded: bool
    strip_mm: tuple[float, float] | None  # the strip's edges across; None when no strip could be inspected
    spans: tuple[CoverageSpan, ...]
    tiles: int  # inspection tiles on the strip
    tiles_passed: int  # tiles that the screen passed on
    screen_peak: float  # highest screen score in the frame, 0..1
    defects: tuple[DefectEvent, ...]
    alarms: tuple[Alarm, ...]
    engines: tuple[str, ...]
    timing: Timing
    roll_marks: tuple[RollMark, ...] = ()
    position_fault: PositionFault | None = None
    coil_data: CoilData | None = None  # new data of the coil, from this frame on; None: unchanged
    config: str = ""  # identity of the settings from this frame on; "": unchanged
    place: SourcePlace | None = None
    calibration: str = ""  # as in `Frame`
    gap: StripGap | None = None
    corrections: tuple[CoverageSpan, ...] = ()
    corrected: tuple[CoverageSpan, ...] = ()
    columns: AcrossMap | None = None  # where the columns of masks lie across; None: not told


@dataclass(frozen=True, slots=True)
class GradeReason:
    """A limit of the grading rules that a coil exceeds."""

    rule: str
    grade: str  # the grade that the rule gives
    text: str
    defect_ids: tuple[str, ...]  # ids of the worst defects concerned


@dataclass(frozen=True, slots=True)
class CoilGrade:
    """The grade of a coil by one file of rules, and how much of the coil it is based on.

    graded_mm: the coil without its excluded ends. inspected_share: inspected share of its area there, 0..1. The grade
    does not cover strip that was not inspected.
    """

    grade: str
    text: str  # includes the inspected share
    rules: str  # name@digest of the rules file
    product: str
    customer: str
    graded_mm: tuple[float, float]
    inspected_share: float
    defects_by_severity: dict[int, int]
    reasons: tuple[GradeReason, ...]  # worst grade first


class CoilState(StrEnum):
    """What a coil notice reports."""

    STARTED = "started"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class CoilNotice:
    """A coil has started or ended. At the end it has the totals, closes the last defects and clears the alarms.

    inspected_mm + degraded_mm + missed_mm is the length that has passed, `area` its area. uninspected_mm2_by_cause: the
    degraded and missed area.
    """

    state: CoilState
    coil: str
    side: str
    camera: str
    along_mm: float
    inspected_mm: float
    degraded_mm: float
    missed_mm: float
    missed_lines_by_cause: dict[str, int]
    defects_by_class: dict[str, int]
    defects: tuple[DefectEvent, ...]
    alarms: tuple[Alarm, ...]
    timing: Timing
    area: StripArea = field(default_factory=StripArea)
    uninspected_mm2_by_cause: dict[str, float] = field(default_factory=dict)
    grade: CoilGrade | None = None  # when the coil has ended and the service has grading rules
    roll_marks: tuple[RollMark, ...] = ()
    conditions: CoilConditions = field(default_factory=CoilConditions)  # what applies to the coil now
    source_coil: str = ""
    head_line: int = 0
    config: str = ""


Decided = Verdict | CoilNotice | AlarmNotice
"""The output of the decision room, in the order in which it is journaled and published."""


def from_tail(along_mm: tuple[float, float], length_mm: float) -> tuple[float, float]:
    """Return the same stretch measured from the coil's tail, which the customer uncoils first.

    length_mm: `along_mm` of the coil's `ended` notice. The function is its own inverse.
    """
    return length_mm - along_mm[1], length_mm - along_mm[0]
