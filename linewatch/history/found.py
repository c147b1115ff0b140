"""What a verdict file says was found and what was missed."""

from dataclasses import dataclass, replace
from pathlib import Path

from linewatch.contracts.errors import JournalError
from linewatch.contracts.verdict import DefectState, Quality, StripBox, from_tail
from linewatch.wire.verdict_file import read_strip


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
    """A coil of a verdict file: closed defects in order of closing, the missed stretches, the length that passed."""

    coil: str
    defects: tuple[FoundDefect, ...]
    missed_mm: tuple[tuple[float, float], ...]
    length_mm: float

    def from_tail(self) -> "CoilFindings":
        """The same with every place counted from the coil's tail."""
        return replace(
            self,
            defects=tuple(
                replace(found, box=replace(found.box, along_mm=from_tail(found.box.along_mm, self.length_mm)))
                for found in self.defects
            ),
            missed_mm=tuple(from_tail(span, self.length_mm) for span in self.missed_mm),
        )


def read_findings(path: Path, coil: str | None = None) -> CoilFindings:
    """Sum up a coil of a verdict file: the named one, or the only one. Defects that merged into others are left out.

    Raises JournalError when it is no verdict file, holds no such coil, or several and none is named.
    """
    coils: dict[str, None] = {}
    defects: list[FoundDefect] = []
    missed: list[tuple[float, float]] = []
    length_mm = 0.0
    for line in read_strip(path):
        coils[line.coil] = None
        if line.coil != (coil or next(iter(coils))):
            continue
        for event in line.defects:
            if event.state is DefectState.CLOSED and event.merged_into is None:
                box = StripBox(event.across_mm, event.along_mm)
                defects.append(FoundDefect(event.id, event.defect_class, event.confidence, event.area_mm2, box))
        for span in getattr(line, "spans", ()):
            length_mm = max(length_mm, span.along_mm[1])
            if span.quality is Quality.MISSED:
                missed.append(span.along_mm)
    if coil is None and len(coils) > 1:
        raise JournalError(f"{path} holds {len(coils)} coils, name one of them: {', '.join(coils)}")
    if coil is not None and coil not in coils:
        raise JournalError(f"{path} holds no coil {coil}; it holds {', '.join(coils) or 'none'}")
    return CoilFindings(coil or next(iter(coils), ""), tuple(defects), tuple(missed), length_mm)
