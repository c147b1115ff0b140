"""The record of one passage of a coil under one camera, the same whether read from a verdict file or the history."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

import numpy as np

from linewatch.contracts.alarm import Alarm
from linewatch.contracts.verdict import CoilGrade, CoverageSpan, Quality, RollMark, RunMask
from linewatch.history.spans import EngineUse
from linewatch.review.defect_table import Defects

IntervalMm = tuple[float, float]

MaskSelection = Callable[[Defects], Collection[str]]
"""Selects, from all defects of a passage, the ids of those whose masks are to be read."""


def no_masks(_: Defects) -> Collection[str]:
    """Select no mask: masks take most of the time and of the memory."""
    return ()


def all_masks(defects: Defects) -> Collection[str]:
    """Select the mask of every defect."""
    ids: list[str] = defects["id"].tolist()
    return ids


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of something that shaped the decisions: a configuration, a calibration, rules."""

    kind: str
    identity: str


@dataclass(frozen=True, slots=True, eq=False)
class CoilRecord:
    """The decisions about one passage. Positions are mm along from its head and across from the mill's datum.

    defects: by where they begin, without those that merged into others; where the end of the coil is not known,
    `still_open` names those that had not closed. masks: for the selected defects, the parts that the messages brought,
    one or more per frame: int32 (n, 3) rows (line, start_px, stop_px), lines from the head of the coil; together they
    have the bounds of the defect's box.
    """

    coil: str
    side: str
    camera: str
    source: str  # for people: where this was read
    defects: Defects
    passage: int | None = None  # its number in the history; None: read from a verdict file
    length_mm: float = 0.0
    complete: bool = True  # the end of the coil was seen
    encoded: bool = True  # positions come from an encoder, not from line rate and pitch
    inspected_at: datetime | None = None
    strip_mm: IntervalMm | None = None  # its outermost edges; None when no strip was seen
    width_mm: float | None = None  # the median of the frames' widths, each in whole millimetres
    spans: tuple[CoverageSpan, ...] = ()  # in order, without overlap; neighbours differ
    still_open: frozenset[str] = frozenset()
    masks: Mapping[str, Sequence[np.ndarray]] = field(default_factory=lambda: MappingProxyType({}))
    mask_dropped: frozenset[str] = frozenset()  # ids whose mask lacks a part that exceeded a message's limit
    alarms: tuple[Alarm, ...] = ()  # transitions, in order
    engines: tuple[EngineUse, ...] = ()
    identities: tuple[Identity, ...] = ()
    grade: CoilGrade | None = None
    excluded_mm: tuple[float, float] = (0.0, 0.0)  # its ends, as its recipe and data had them
    roll_marks: tuple[RollMark, ...] = ()  # as last reported
    periodic: frozenset[str] = frozenset()  # ids of all defects that a roll mark ever named as its marks
    notes: tuple[str, ...] = ()  # caveats that a reader must know

    def quality_mm(self, quality: Quality) -> float:
        """Return the length of strip with this quality."""
        return sum(span.length_mm for span in self.spans if span.quality is quality)

    @property
    def inspected_share(self) -> float | None:
        """Share of the area of strip that passed; None where no strip passed."""
        return self.area_shares[Quality.INSPECTED] if self.length_mm > 0 else None

    @property
    def knows_areas(self) -> bool:
        """Whether areas are on record; older records have lengths only."""
        return all(span.area is not None for span in self.spans)

    @property
    def area_shares(self) -> dict[Quality, float]:
        """Shares of the area that was inspected, degraded and missed; where areas are not known, of the length.

        Strip without a record counts as wide as the rest.
        """
        if not self.spans or self.length_mm <= 0:
            return dict.fromkeys(Quality, 0.0)
        areas = [span.area for span in self.spans]
        known = [area for area in areas if area is not None]
        passed_mm2 = sum(area.passed_mm2 for area in known)
        if len(known) < len(areas) or not passed_mm2:
            return {quality: self.quality_mm(quality) / self.length_mm for quality in Quality}
        recorded = min(1.0, sum(span.length_mm for span in self.spans) / self.length_mm)
        sums_mm2 = (
            sum(area.inspected_mm2 for area in known),
            sum(area.degraded_mm2 for area in known),
            sum(area.missed_mm2 for area in known),
        )
        return {quality: mm2 / passed_mm2 * recorded for quality, mm2 in zip(Quality, sums_mm2, strict=True)}

    @property
    def unrecorded_mm(self) -> float:
        """The length that passed without any record of its quality."""
        return max(0.0, round(self.length_mm - sum(map(self.quality_mm, Quality)), 1))

    @property
    def mixed_engines(self) -> bool:
        """Whether more than one engine served at the same place of the cascade."""
        return len({use.place for use in self.engines}) < len(self.engines)

    def counts(self, *, tentative: bool = False) -> Counter[str]:
        """Count the called defects, or the tentative ones, by class; a defect that was closed in parts counts once."""
        firsts = self.defects["part_of"] == None  # noqa: E711 - of each object
        return Counter(self.defects["defect_class"][firsts & (self.defects["tentative"] == tentative)].tolist())


def alarms_of_coil(coil: str, transitions: Collection[Alarm]) -> tuple[Alarm, ...]:
    """Return the transitions of this coil's alarms among those of its passage; shelving a rule is no alarm."""
    return tuple(alarm for alarm in transitions if alarm.coil == coil and alarm.id != alarm.rule)


def runs_from_head(part: RunMask) -> np.ndarray:
    """Return the runs of a part of a mask, with lines that count from the head of the coil."""
    return part.runs + np.array([part.first_line, 0, 0], np.int32)


def median_width_mm(frames_by_width: Mapping[int, int]) -> float | None:
    """Return the median over frames, counted by strip width in whole mm; the lower of two in the middle."""
    passed, half = 0, sum(frames_by_width.values()) / 2
    for width_mm in sorted(frames_by_width):
        passed += frames_by_width[width_mm]
        if passed >= half:
            return float(width_mm)
    return None
