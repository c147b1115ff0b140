"""Coils graded again, without their pixels, from what was stored of them; by the code that graded them at first."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from linewatch.contracts.errors import JournalError
from linewatch.contracts.verdict import CoilGrade, CoilState, Defect, DefectState, Quality
from linewatch.decision.grading import grade_coil
from linewatch.decision.severity import GradingRules, severities_of
from linewatch.wire.encode import defect_from
from linewatch.wire.schema import CoilLine, GradeBody, VerdictLine
from linewatch.wire.verdict_file import read_strip


@dataclass(frozen=True, slots=True)
class StoredCoil:
    """All of a coil that its grade depends on, and the grade that it had. `ended`: its end is known."""

    coil: str
    side: str
    camera: str
    defects: tuple[Defect, ...]  # closed, without those that merged into others
    periodic: frozenset[str]  # ids of those that belong to a roll mark
    inspected_mm: tuple[tuple[float, float], ...]
    end_mm: float
    ended: bool
    grade: GradeBody | None
    excluded_mm: tuple[float, float] = (0.0, 0.0)  # its ends, as its recipe and data had them


@dataclass(frozen=True, slots=True)
class Regraded:
    """A coil's grade now, beside the stored one. changed_severities: defects that have another severity now."""

    coil: str
    side: str
    camera: str
    ended: bool
    before: GradeBody | None
    now: CoilGrade
    changed_severities: int

    @property
    def changed(self) -> bool:
        """Whether the grade is another one; a coil that had none has one now."""
        return self.before is None or self.before.grade != self.now.grade

    @property
    def added(self) -> tuple[str, ...]:
        """Limits that are exceeded now and were not."""
        before = {reason.rule for reason in self.before.reasons} if self.before else set()
        return tuple(reason.rule for reason in self.now.reasons if reason.rule not in before)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Limits that were exceeded and are no longer."""
        now = {reason.rule for reason in self.now.reasons}
        return tuple(reason.rule for reason in self.before.reasons if reason.rule not in now) if self.before else ()


def regrade(coil: StoredCoil, rules: GradingRules) -> Regraded:
    """The coil by these rules, without the ends that were excluded when it passed."""
    rules = rules.excluding(*coil.excluded_mm)
    now = grade_coil(rules, coil.defects, coil.inspected_mm, coil.end_mm, coil.periodic)
    severities = severities_of(coil.defects, rules)
    changed = sum(defect.severity != severity for defect, severity in zip(coil.defects, severities, strict=True))
    return Regraded(coil.coil, coil.side, coil.camera, coil.ended, coil.grade, now, changed)


def stored_coils(path: Path) -> Iterator[StoredCoil]:
    """The coils of a verdict file, in their order. Raises JournalError when it is none, or holds no coil."""
    lines: list[VerdictLine | CoilLine] = []
    found = False
    for line in read_strip(path):
        if isinstance(line, CoilLine) and line.state is CoilState.STARTED and lines:
            yield _stored(lines)
            lines = []
        lines.append(line)
        found = True
    if not found:
        raise JournalError(f"{path}: holds no coil; expected what `linewatch replay --out` wrote")
    yield _stored(lines)


def _stored(lines: list[VerdictLine | CoilLine]) -> StoredCoil:
    last = lines[-1]
    end = last if isinstance(last, CoilLine) else None
    spans = [span for line in lines if not isinstance(line, CoilLine) for span in line.spans]
    return StoredCoil(
        coil=last.coil,
        side=last.side,
        camera=last.camera,
        defects=tuple(
            defect_from(event)
            for line in lines
            for event in line.defects
            if event.state is DefectState.CLOSED and event.merged_into is None
        ),
        periodic=frozenset(name for line in lines for mark in line.roll_marks for name in mark.defect_ids),
        inspected_mm=tuple(span.along_mm for span in spans if span.quality is Quality.INSPECTED),
        end_mm=max((line.along_mm[1] for line in lines if not isinstance(line, CoilLine)), default=0.0),
        ended=end is not None and end.state is CoilState.ENDED,
        grade=end.grade if end is not None else None,
        excluded_mm=next(
            ((line.head_excluded_mm, line.tail_excluded_mm) for line in reversed(lines) if isinstance(line, CoilLine)),
            (0.0, 0.0),
        ),
    )
