"""Running sums over what was decided: for the status message, the progress bar and the final table."""

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from linewatch.contracts.alarm import AlarmChange, AlarmNotice, AlarmState
from linewatch.contracts.frame import Cause
from linewatch.contracts.verdict import (
    CoilGrade,
    CoverageSpan,
    Decided,
    DefectState,
    Quality,
    RollMarkState,
    StripArea,
    Verdict,
)
from linewatch.daemon.sight import Blindness, followed

_OURS = (Cause.OVERRUN.value, Cause.OVERLOAD.value, Cause.ENGINE.value, Cause.UNTOLD.value)


@dataclass(slots=True)
class StripAsDecided:
    """Strip as it was first decided. Unlike other sums these never fall, whatever a later decision corrects."""

    lines: Counter[tuple[Quality, str]] = field(default_factory=Counter)  # by quality and cause; "": none
    mm2: defaultdict[Quality, float] = field(default_factory=lambda: defaultdict(float))
    uninspected_mm2: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))  # by cause

    def add(self, span: CoverageSpan) -> None:
        """Add a span of a new frame."""
        self.lines[span.quality, span.cause.value if span.cause else ""] += span.lines
        if (area := span.area) is not None:
            self.mm2[Quality.INSPECTED] += area.inspected_mm2
            self.mm2[Quality.DEGRADED] += area.degraded_mm2
            self.mm2[Quality.MISSED] += area.missed_mm2
        for cause, mm2 in span.uninspected_mm2:
            self.uninspected_mm2[cause.value] += mm2


@dataclass(slots=True)
class Totals:
    """Written by the decision stage, and by the outlet through `retell`; others may read it one frame late."""

    frames: int = 0
    frames_overrun: int = 0  # missed, since no ring slot was free
    tiles: int = 0
    tiles_passed: int = 0
    as_decided: StripAsDecided = field(default_factory=StripAsDecided)
    lines: dict[Quality, int] = field(default_factory=lambda: dict.fromkeys(Quality, 0))
    lines_by_cause: Counter[str] = field(default_factory=Counter)  # of lines that were not inspected
    mm: dict[Quality, float] = field(default_factory=lambda: dict.fromkeys(Quality, 0.0))
    area: StripArea = field(default_factory=StripArea)
    uninspected_mm2: dict[str, float] = field(default_factory=dict)  # degraded and missed area by cause
    defects: Counter[str] = field(default_factory=Counter)
    tentative: Counter[str] = field(default_factory=Counter)  # of `defects`
    opened: int = 0  # defects, including those that merged into others later
    alarms_raised: int = 0
    roll_marks: int = 0  # recognised
    quality: Quality = Quality.INSPECTED  # of the newest lines
    blindness: Blindness | None = None
    coil: str = ""
    along_mm: float = 0.0
    grade: CoilGrade | None = None  # of the newest coil that has ended
    _writing: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, decided: Decided) -> None:
        """Add one decision."""
        self.alarms_raised += sum(
            alarm.state is AlarmState.RAISED and alarm.change is not AlarmChange.ACKNOWLEDGED
            for alarm in decided.alarms
        )
        if isinstance(decided, AlarmNotice):
            return
        if isinstance(decided, Verdict):
            self.frames += 1
            self.tiles += decided.tiles
            self.tiles_passed += decided.tiles_passed
            self.along_mm = decided.along_mm[1]
            self.blindness = followed(self.blindness, decided)
            self.frames_overrun += any(span.cause is Cause.OVERRUN for span in decided.spans)
            self._add_spans(decided, 1)
            for span in decided.spans:
                self.as_decided.add(span)
        else:
            self.grade = decided.grade or self.grade
        self.coil = decided.coil
        self.quality = decided.spans[-1].quality if isinstance(decided, Verdict) and decided.spans else self.quality
        for event in decided.defects:
            self.opened += event.state is DefectState.OPENED
            if event.state is DefectState.CLOSED and event.merged_into is None:
                self.defects[event.defect.defect_class] += 1
                self.tentative[event.defect.defect_class] += event.defect.tentative
        self.roll_marks += sum(mark.state is RollMarkState.RECOGNISED for mark in decided.roll_marks)

    def retell(self, decided: Verdict, told: Verdict) -> None:
        """Count the lines of a frame as they were published, in place of as they were decided."""
        self._add_spans(decided, -1)
        self._add_spans(told, 1)

    def _add_spans(self, verdict: Verdict, sign: int) -> None:
        signed = [(1, span) for span in (*verdict.spans, *verdict.corrections)]
        signed += [(-1, span) for span in verdict.corrected]
        with self._writing:
            for part, span in signed:
                self._add_span(span, sign * part)

    def _add_span(self, span: CoverageSpan, sign: int) -> None:
        self.mm[span.quality] += sign * span.length_mm
        self.lines[span.quality] += sign * span.lines
        self.area = self.area.plus(span.area or StripArea(), sign)
        for cause, mm2 in span.uninspected_mm2:
            self.uninspected_mm2[cause.value] = self.uninspected_mm2.get(cause.value, 0.0) + sign * mm2
        if span.cause is not None:
            self.lines_by_cause[span.cause.value] += sign * span.lines

    @property
    def lost_lines(self) -> tuple[int, int]:
        """How many lines the inspection lost in whole or part, not the camera or the strip, and how many passed."""
        with self._writing:
            return sum(self.lines_by_cause[cause] for cause in _OURS), sum(self.lines.values())

    @property
    def blind(self) -> Blindness | None:
        """The blindness, if it has lasted so long that the service is unhealthy."""
        blindness = self.blindness
        return blindness if blindness is not None and blindness.lasting else None

    @property
    def coverage(self) -> float:
        """The inspected share of the area of strip that passed; 1.0 before anything passed, 0.0 while none had area."""
        if not self.area.passed_mm2:
            return float(not any(self.lines.values()))
        return self.area.inspected_mm2 / self.area.passed_mm2
