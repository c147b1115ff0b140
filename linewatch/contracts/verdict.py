"""What linewatch decides: defects, coverage, alarms, and the verdict that carries them.

Positions are strip millimetres: *along* from the head of the coil, *across* from the mill's datum (the camera's first
pixel plus its configured offset). Intervals are half-open.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

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
    """One physical defect instance, merged over tiles and frames; the whole of it as known so far."""

    id: str  # stable; made of coil, side, camera, line and column where it was first seen
    coil: str
    side: str
    camera: str
    defect_class: str
    confidence: float  # the class's score, 0..1, weighted by area over the tiles that it covers
    peak: float  # highest defect probability in it, 0..1
    box: StripBox
    area_mm2: float
    edge_mm: float | None  # from the nearest strip edge that was seen; None when none was
    extent: Extent
    frames: int  # that it spans
    class_scores: tuple[tuple[str, float], ...] = ()  # the highest ones, weighted alike, highest first
    length_mm: float = 0.0  # of the rectangle with its second moments, whatever way it lies
    width_mm: float = 0.0
    orientation_deg: float = 0.0  # of the length from the rolling direction, (-90, 90]; see `geometry.moments`
    contrast: float | None = None  # mean gray less that of the steel around it, -1..1; None when no steel was seen
    part_of: str | None = None  # the defect's first part, where it is so long that it was closed in parts


@dataclass(frozen=True, slots=True)
class DefectEvent:
    """A step in a defect's life. Closed defects that grew into another name it in `merged_into`."""

    state: DefectState
    defect: Defect
    mask: RunMask | None  # the part in this verdict's frame; None when this frame adds nothing
    merged_into: str | None = None


class AlarmState(StrEnum):
    RAISED = "raised"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True)
class Alarm:
    """A transition of one alarm: an event that asks for an operator's action (ISA-18.2)."""

    id: str  # stable: rule, coil and where it was raised
    rule: str
    state: AlarmState
    latched: bool  # stays raised until acknowledged or the coil ends
    coil: str
    side: str
    camera: str
    along_mm: float
    defect_ids: tuple[str, ...]  # that made the rule true
    text: str


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
    position_fault: PositionFault | None = None


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


Decided = Verdict | CoilNotice
"""What the decision room hands to the journal, in order."""


def from_tail(along_mm: tuple[float, float], length_mm: float) -> tuple[float, float]:
    """The same stretch counted from the tail of a coil of that length: what the customer uncoils first is at 0.

    The length is `along_mm` of the coil's `ended` notice. Its own inverse.
    """
    return length_mm - along_mm[1], length_mm - along_mm[0]
