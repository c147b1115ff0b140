"""One passage of a coil under one camera, as whoever reads of it needs it, wherever it was stored."""

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

Masked = Callable[[Defects], Collection[str]]
"""Of which defects a reader wants the masks, told of all of them."""


def no_masks(_: Defects) -> Collection[str]:
    """They take most of the time and of the room."""
    return ()


def all_masks(defects: Defects) -> Collection[str]:
    """Every defect's."""
    ids: list[str] = defects["id"].tolist()
    return ids


@dataclass(frozen=True, slots=True)
class Identity:
    """Of something else that had a say: configuration, calibration, rules."""

    what: str
    identity: str


@dataclass(frozen=True, slots=True, eq=False)
class CoilRecord:
    """What was decided of one passage. Millimetres along from its head, across from the mill's datum.

    defects: by where they begin, those that merged into others left out; where the end of the coil is not known also
    those that were open last, named in `still_open`. masks: of those that were asked for, in the parts that they were
    told in, one or more per frame: int32 (n, 3) rows (line, start_px, stop_px), lines from the head of the coil; their
    bounds are the bounds of the defect's box.
    """

    coil: str
    side: str
    camera: str
    source: str  # where this was read, in words
    defects: Defects
    passage: int | None = None  # its number in the history; None: it was not read from there
    length_mm: float = 0.0
    complete: bool = True  # the end of the coil was seen
    encoded: bool = True  # positions come from an encoder, not from line rate and pitch
    inspected_at: datetime | None = None
    strip_mm: IntervalMm | None = None  # its outermost edges; None when no strip was looked at
    width_mm: float | None = None  # the median of the frames' widths, each in whole millimetres
    spans: tuple[CoverageSpan, ...] = ()  # in order, without overlap; neighbours differ
    still_open: frozenset[str] = frozenset()
    masks: Mapping[str, Sequence[np.ndarray]] = field(default_factory=lambda: MappingProxyType({}))
    mask_dropped: frozenset[str] = frozenset()  # a part of their mask had more runs than a message may hold
    alarms: tuple[Alarm, ...] = ()  # transitions, in order
    engines: tuple[EngineUse, ...] = ()
    identities: tuple[Identity, ...] = ()
    grade: CoilGrade | None = None
    excluded_mm: tuple[float, float] = (0.0, 0.0)  # its ends, as its recipe and data had them
    roll_marks: tuple[RollMark, ...] = ()  # as they were last told
    periodic: frozenset[str] = frozenset()  # all that a roll mark ever named as its own
    notes: tuple[str, ...] = ()  # what a reader has to know before he trusts a figure

    def looked_mm(self, quality: Quality) -> float:
        """The length that was looked at in this way."""
        return sum(span.along_mm[1] - span.along_mm[0] for span in self.spans if span.quality is quality)

    @property
    def inspected_share(self) -> float | None:
        """Of the length that passed; None of nothing."""
        return self.looked_mm(Quality.INSPECTED) / self.length_mm if self.length_mm > 0 else None

    @property
    def unrecorded_mm(self) -> float:
        """The length that passed and of which nothing is known."""
        return max(0.0, round(self.length_mm - sum(map(self.looked_mm, Quality)), 1))

    @property
    def mixed_engines(self) -> bool:
        """Whether more than one engine held the same place in the cascade."""
        return len({use.place for use in self.engines}) < len(self.engines)

    def counts(self, *, tentative: bool = False) -> Counter[str]:
        """Physical defects by class that are called, or those that are tentative; one closed in parts counts once."""
        firsts = self.defects["part_of"] == None  # noqa: E711 - of each object
        return Counter(self.defects["defect_class"][firsts & (self.defects["tentative"] == tentative)].tolist())


def shown_alarms(coil: str, told: Collection[Alarm]) -> tuple[Alarm, ...]:
    """Transitions of this coil's alarms, of those told while it was under the camera; a rule's shelf is none."""
    return tuple(alarm for alarm in told if alarm.coil == coil and alarm.id != alarm.rule)


def on_coil(part: RunMask) -> np.ndarray:
    """Its runs, with lines that count from the head of the coil."""
    return part.runs + np.array([part.first_line, 0, 0], np.int32)


def median_width_mm(frames_by_width: Mapping[int, int]) -> float | None:
    """Of frames counted by their strip's width in whole millimetres; the lower one of two in the middle."""
    passed, half = 0, sum(frames_by_width.values()) / 2
    for width_mm in sorted(frames_by_width):
        passed += frames_by_width[width_mm]
        if passed >= half:
            return float(width_mm)
    return None
