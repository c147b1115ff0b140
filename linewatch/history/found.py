"""What a verdict file says was found and what was missed."""

from dataclasses import dataclass
from pathlib import Path

from linewatch.contracts.verdict import DefectState, Quality, StripBox
from linewatch.wire.verdict_file import read_verdicts


@dataclass(frozen=True, slots=True)
class FoundDefect:
    """A defect as it was when it closed."""

    id: str
    defect_class: str
    confidence: float
    area_mm2: float
    box: StripBox


@dataclass(frozen=True, slots=True)
class CoilFindings:
    """All of a verdict file: closed defects in order of closing, the missed stretches, the length that passed."""

    defects: tuple[FoundDefect, ...]
    missed_mm: tuple[tuple[float, float], ...]
    length_mm: float


def read_findings(path: Path) -> CoilFindings:
    """Sum up a verdict file. Defects that merged into others are left out. Raises JournalError when it is none."""
    defects: list[FoundDefect] = []
    missed: list[tuple[float, float]] = []
    length_mm = 0.0
    for line in read_verdicts(path):
        for event in line.defects:
            if event.state is DefectState.CLOSED and event.merged_into is None:
                box = StripBox(event.across_mm, event.along_mm)
                defects.append(FoundDefect(event.id, event.defect_class, event.confidence, event.area_mm2, box))
        for span in getattr(line, "spans", ()):
            length_mm = max(length_mm, span.along_mm[1])
            if span.quality is Quality.MISSED:
                missed.append(span.along_mm)
    return CoilFindings(tuple(defects), tuple(missed), length_mm)
