"""What linewatch decides: defects, coverage, alarms, and the verdict that carries them.

Positions are strip millimetres: *along* from the head of the coil, *across* from the mill's datum (the camera's first
pixel plus its configured offset). Intervals are half-open.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

import numpy as np
from pydantic import Field

from linewatch.contracts.alarm import Alarm, AlarmNotice
from linewatch.contracts.bounds import Count, Score, Severity
from linewatch.contracts.coil import CoilData, Passage
from linewatch.contracts.frame import Cause, PositionFault
from linewatch.contracts.prediction import Timing


class Quality(StrEnum):
    """How a span of strip was looked at. "No defect" and "not looked" are never the same message."""

    INSPECTED = "inspected"
    DEGRADED = "degraded"  # screened, perhaps classified, not segmented
    MISSED = "missed"


@dataclass(frozen=True, slots=True)
class CoverageSpan:
    """`lines` lines from `first_line`, all looked at alike. Spans of a coil tile its length without overlap."""

    first_line: int
    lines: int
    along_mm: tuple[float, float]
    quality: Quality
    cause: Cause | None  # None exactly when inspected


@dataclass(frozen=True, slots=True)
class StripBox:
    """A rectangle on the strip in millimetres."""

    across_mm: tuple[float, float]
    along_mm: tuple[float, float]


@dataclass(frozen=True, slots=True)
class RunMask:
    """Run-length mask in strip lines and camera columns.

    runs: int32 (n, 3), rows (line, start_px, stop_px) sorted; `line` counts from `first_line`; [start, stop) half-open.
    """

    first_line: int
    runs: np.ndarray


class DefectState(StrEnum):
    OPENED = "opened"
    UPDATED = "updated"
    CLOSED = "closed"


class Extent(StrEnum):
    """What a defect's outline comes from."""

    MASK = "mask"  # the segmenter's
    TILE = "tile"  # the classifier's tile: the class has no outline, or the segmenter saw none


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
    peak: Annotated[Score, Field(description="highest defect probability in it")]
    box: StripBox
    area_mm2: Annotated[float, Field(ge=0)]
    edge_mm: Annotated[float | None, Field(description="from the nearest strip edge that was seen; null when none was")]
    extent: Extent
    frames: Annotated[Count, Field(description="that it spans")]
    # The highest scores, weighted alike, highest first.
    class_scores: Annotated[tuple[tuple[str, Score], ...], Field(description="of the most likely classes")] = ()
    length_mm: Annotated[
        float,
        Field(ge=0, description="of the rectangle with the outline's second moments, whatever way it lies"),
    ] = 0.0
    width_mm: Annotated[float, Field(ge=0)] = 0.0
    orientation_deg: Annotated[  # see `geometry.moments`
        float,
        Field(
            gt=-90, le=90, description="of the length: 0 along the strip, 90 across; positive: across grows with along"
        ),
    ] = 0.0
    contrast: Annotated[
        Annotated[float, Field(ge=-1, le=1)] | None,
        Field(description="mean gray less that of the steel around it, of full scale; null when not known"),
    ] = None
    part_of: Annotated[
        str | None,
        Field(description="first part of a defect so long that it is closed in parts"),
    ] = None
    severity: Annotated[Severity | None, Field(description="by the grading rules; null: not graded")] = None
    tentative: Annotated[
        bool,
        Field(
            description="below what its class must reach to be called (`[decision] operating_point`): it neither "
            "grades nor alarms"
        ),
    ] = False
    excluded: Annotated[
        bool,
        Field(description="all of it lies in an excluded end: it neither grades nor alarms"),
    ] = False


@dataclass(frozen=True, slots=True)
class DefectEvent:
    """A step in a defect's life. Closed defects that grew into another name it in `merged_into`."""

    state: DefectState
    defect: Defect
    mask: RunMask | None  # the part in this verdict's frame; None when this frame adds nothing
    merged_into: str | None = None


class RollMarkState(StrEnum):
    RECOGNISED = "recognised"
    UPDATED = "updated"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class RollSuspect:
    """A configured roll that would leave marks at such a pitch."""

    roll: str
    stand: str
    pitch_mm: tuple[float, float]  # of its marks, over its range of diameter and the error of its slip
    diameter_mm: tuple[float, float]  # that it has if it is the one
    turns: int  # of the roll from mark to mark; above 1: it would be seen every so many turns only
    share: float  # of the likelihood among all suspects, 0..1


@dataclass(frozen=True, slots=True)
class RollMark:
    """Defects that come back at one cross position with a constant pitch; the whole row as known so far."""

    id: str  # stable; made of its first mark's
    state: RollMarkState
    coil: str
    side: str
    camera: str
    defect_class: str  # the most frequent of its marks
    pitch_mm: float
    pitch_error_mm: float  # standard error
    confidence: float  # 1 - the number of such rows that chance would give on 100 km of such strip; 0..1
    marks: int  # seen
    marks_due: int  # from the first to the newest, the missed ones included
    across_mm: tuple[float, float]  # hull of its marks
    along_mm: tuple[float, float]  # from its first mark to its newest
    defect_ids: tuple[str, ...]  # of its newest marks, in order along
    suspects: tuple[RollSuspect, ...]  # likeliest first


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of one frame once it has been decided. One per `Frame`, in strip order."""

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
    strip_mm: tuple[float, float] | None  # the strip's edges across; None when there was nothing to look at
    spans: tuple[CoverageSpan, ...]
    tiles: int  # on the strip
    tiles_passed: int  # by the screen
    screen_peak: float
    defects: tuple[DefectEvent, ...]
    alarms: tuple[Alarm, ...]
    engines: tuple[str, ...]
    timing: Timing
    roll_marks: tuple[RollMark, ...] = ()
    position_fault: PositionFault | None = None
    coil_data: CoilData | None = None  # with the frame from which they hold, where that is not the coil's first
    config: str = ""  # identity of the settings that decide from here on, where they changed while the coil runs


@dataclass(frozen=True, slots=True)
class GradeReason:
    """A limit that a coil exceeds."""

    rule: str
    grade: str  # that the rule gives
    text: str
    defect_ids: tuple[str, ...]  # the worst of the defects that it is about; few of them


@dataclass(frozen=True, slots=True)
class CoilGrade:
    """What a coil is worth by one file of rules, and how much of it that was told from.

    inspected_share: of the graded length, which is the coil without its excluded ends. Strip that was not inspected
    may hold anything: a grade speaks of the rest alone.
    """

    grade: str
    text: str  # with the share that was inspected
    rules: str  # name@digest of the rules' content
    product: str
    customer: str
    graded_mm: tuple[float, float]
    inspected_share: float
    defects_by_severity: dict[int, int]
    reasons: tuple[GradeReason, ...]  # worst grade first


class CoilState(StrEnum):
    STARTED = "started"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class CoilNotice:
    """A coil begins or has ended; at the end with its sums, its last defects closed and its alarms cleared.

    inspected_mm + degraded_mm + missed_mm == the length that passed.
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
    grade: CoilGrade | None = None  # at the end, where the service has grading rules
    roll_marks: tuple[RollMark, ...] = ()
    passage: Passage = field(default_factory=Passage)  # as it holds now
    source_coil: str = ""
    head_line: int = 0
    config: str = ""


Decided = Verdict | CoilNotice | AlarmNotice
"""What the decision room hands to the journal, in order."""


def from_tail(along_mm: tuple[float, float], length_mm: float) -> tuple[float, float]:
    """The same stretch counted from the tail of a coil of that length: what the customer uncoils first is at 0.

    The length is `along_mm` of the coil's `ended` notice. Its own inverse.
    """
    return length_mm - along_mm[1], length_mm - along_mm[0]
