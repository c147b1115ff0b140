"""Grades coils again from their records, without pixels, by the code that graded them in the service."""

from dataclasses import dataclass

from linewatch.contracts.verdict import CoilGrade
from linewatch.decision.grading.grade import grade_coil
from linewatch.decision.grading.severity import GradingRules, severities_of
from linewatch.review.coil_record import CoilRecord


@dataclass(frozen=True, slots=True)
class Regraded:
    """A coil's new grade beside the stored one.

    ended: the end of the coil is known. changed_severities: how many defects have another severity now.
    """

    coil: str
    side: str
    camera: str
    ended: bool
    before: CoilGrade | None
    now: CoilGrade
    changed_severities: int

    @property
    def changed(self) -> bool:
        """Whether the grade differs; also true for a coil that had no grade."""
        return self.before is None or self.before.grade != self.now.grade

    @property
    def added(self) -> tuple[str, ...]:
        """Limits that are exceeded now and were not before."""
        before = {reason.rule for reason in self.before.reasons} if self.before else set()
        return tuple(reason.rule for reason in self.now.reasons if reason.rule not in before)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Limits that were exceeded before and are no longer."""
        now = {reason.rule for reason in self.now.reasons}
        return tuple(reason.rule for reason in self.before.reasons if reason.rule not in now) if self.before else ()


def regrade(coil: CoilRecord, rules: GradingRules) -> Regraded:
    """Grade the closed defects of the coil by these rules, without the ends that were excluded when it passed."""
    rules = rules.excluding(*coil.excluded_mm)
    closed = [defect for defect in coil.defects if defect.id not in coil.still_open]
    now = grade_coil(rules, closed, coil.spans, coil.length_mm, coil.periodic)
    severities = severities_of(closed, rules)
    changed = sum(defect.severity != severity for defect, severity in zip(closed, severities, strict=True))
    return Regraded(coil.coil, coil.side, coil.camera, coil.complete, coil.grade, now, changed)
