"""One passage of a coil under one camera, as a report or a list needs it, wherever it was stored."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

import numpy as np

from linewatch.config.grading import SEVERITIES, UNKNOWN_SEVERITY
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.alarm import Alarm
from linewatch.contracts.verdict import CoilGrade, CoverageSpan, Defect, Quality, RollMark

PSEUDO_SEVERITY = 0

IntervalMm = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ClassSeverities:
    """How bad a defect is by its class, where no grading rules say more. identity: of the taxonomy that says so."""

    by_class: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    pseudo: frozenset[str] = frozenset()
    identity: str | None = None

    @classmethod
    def of(cls, taxonomy: Taxonomy, identity: str) -> "ClassSeverities":
        by_class = {name: SEVERITIES[one.severity] for name, one in taxonomy.classes.items() if not one.pseudo}
        return cls(MappingProxyType(by_class), frozenset(taxonomy.pseudo_classes), identity)

    @classmethod
    def read(cls, path: Path) -> "ClassSeverities":
        """Of a taxonomy's file. Raises ConfigError when it cannot be used."""
        taxonomy = Taxonomy.read(path)
        digest = hashlib.sha256(taxonomy.model_dump_json().encode()).hexdigest()[:12]
        return cls.of(taxonomy, f"{path.name}@{digest}")

    def __call__(self, defect: Defect) -> int:
        """1..5; `PSEUDO_SEVERITY` for what only looks like a defect."""
        if defect.defect_class in self.pseudo:
            return PSEUDO_SEVERITY
        if defect.severity is not None:
            return defect.severity
        return self.by_class.get(defect.defect_class, UNKNOWN_SEVERITY)

    def badness(self, defect: Defect) -> tuple[int, float, float, str]:
        """Ascends with severity, then with area; of equal ones the first along the coil is worse."""
        return self(defect), defect.area_mm2, -defect.box.along_mm[0], defect.id


@dataclass(frozen=True, slots=True)
class EngineUse:
    """An engine, its place in the cascade, and the length of the frames in which it looked at something."""

    engine: str
    place: int
    length_mm: float


@dataclass(frozen=True, slots=True)
class Identity:
    """Of something else that had a say: configuration, calibration, rules."""

    what: str
    identity: str


@dataclass(frozen=True, slots=True, eq=False)
class CoilRecord:
    """What was decided of one coil. Millimetres along from its head, across from the mill's datum.

    defects: as they closed, those that merged into others left out; where the end of the coil is not known also those
    that were open last, named in `still_open`. masks: of the worst ones, int32 (n, 3) rows (line, start_px, stop_px)
    over all their frames; the bounds of a mask are the bounds of its defect's box.
    """

    coil: str
    side: str
    camera: str
    source: str  # where this was read, in words
    severities: ClassSeverities
    length_mm: float = 0.0
    complete: bool = True  # the end of the coil was seen
    encoded: bool = True  # positions come from an encoder, not from line rate and pitch
    inspected_at: datetime | None = None
    strip_mm: IntervalMm | None = None  # its outermost edges; None when no strip was looked at
    width_mm: float | None = None  # the median
    spans: tuple[CoverageSpan, ...] = ()  # tile the length; neighbours differ
    defects: tuple[Defect, ...] = ()
    still_open: frozenset[str] = frozenset()
    masks: Mapping[str, np.ndarray] = field(default_factory=lambda: MappingProxyType({}))
    alarms: tuple[Alarm, ...] = ()  # transitions, in order
    engines: tuple[EngineUse, ...] = ()
    identities: tuple[Identity, ...] = ()
    grade: CoilGrade | None = None
    roll_marks: tuple[RollMark, ...] = ()
    notes: tuple[str, ...] = ()  # what a reader has to know before he trusts a figure

    def looked_mm(self, quality: Quality) -> float:
        """The length that was looked at in this way."""
        return sum(span.along_mm[1] - span.along_mm[0] for span in self.spans if span.quality is quality)

    @property
    def inspected_share(self) -> float | None:
        """Of the length that passed; None of nothing."""
        return self.looked_mm(Quality.INSPECTED) / self.length_mm if self.length_mm > 0 else None

    @property
    def mixed_engines(self) -> bool:
        """Whether more than one engine held the same place in the cascade."""
        return len({use.place for use in self.engines}) < len(self.engines)

    def counts(self) -> Counter[str]:
        """Physical defects by class; one that was closed in parts counts once."""
        return Counter(defect.defect_class for defect in self.defects if defect.part_of is None)

    def worst_first(self) -> list[Defect]:
        """By severity, then by area."""
        return sorted(self.defects, key=self.severities.badness, reverse=True)
