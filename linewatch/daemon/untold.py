"""Decisions that cannot be published as they were decided: replaced, counted, logged, and taken out of the coverage."""

from collections import Counter
from contextlib import suppress
from dataclasses import replace

import structlog

from linewatch.contracts.frame import Cause
from linewatch.contracts.verdict import CoilNotice, CoilState, Decided, Quality, StripArea, Verdict
from linewatch.daemon.totals import Totals
from linewatch.wire.substitute import substitute

log = structlog.get_logger()

SUM_EVERY_NS = 60_000_000_000
_KINDS_KEPT = 64


class UntoldDecisions:
    """Used by the outlet only; other threads may read `count`."""

    def __init__(self, totals: Totals) -> None:
        self.count = 0
        """Decisions, status messages and pictures that could not be published as they were."""
        self._totals = totals
        self._kinds: Counter[str] = Counter()
        self._next_sum_ns = 0
        self._coil_mm: dict[Quality, float] = dict.fromkeys(Quality, 0.0)  # of the present coil, by what was decided
        self._coil_area = StripArea()
        self._coil_lines = 0

    def note(self, what: str, error: Exception) -> None:
        """Count something that could not be published, and log it if it is the first of its kind."""
        self.count += 1
        kind = f"{what}: {type(error).__name__}"
        if kind not in self._kinds and len(self._kinds) < _KINDS_KEPT:
            log.error("not_published", what=what, kind=type(error).__name__, error=str(error)[:1000])
        self._kinds[kind] += 1

    def log_sums(self, now_ns: int) -> None:
        """Log once a minute how often it has happened since."""
        if not self._kinds or now_ns < self._next_sum_ns:
            return
        if self._next_sum_ns and any(count > 1 for count in self._kinds.values()):
            log.error("not_published_again", counts=dict(self._kinds))
            self._kinds = Counter(dict.fromkeys(self._kinds, 1))
        self._next_sum_ns = now_ns + SUM_EVERY_NS

    def substitute(self, decided: Decided, error: Exception) -> Decided:
        """Return what is published in place of a decision, and count its lines as missed wherever lines are summed."""
        self.note(type(decided).__name__, error)
        told = substitute(decided)
        if isinstance(decided, Verdict) and isinstance(told, Verdict) and told.spans != decided.spans:
            with suppress(TypeError, AttributeError, KeyError, ValueError):  # a span of other kinds was in no sum
                self._totals.retell(decided, told)
                for span in decided.spans:
                    if span.quality is not Quality.MISSED:
                        self._coil_mm[span.quality] += max(0.0, span.along_mm[1] - span.along_mm[0])
                        self._coil_lines += span.lines
                        self._coil_area = self._coil_area.plus(span.area or StripArea())
        return told

    def correct(self, decided: Decided) -> Decided:
        """Return a decision whose sums over the coil count as missed what could not be told of it.

        Whatever is raised over sums that are no numbers, the correction waits for those that replace them.
        """
        if not isinstance(decided, CoilNotice) or not self._coil_lines:
            return decided
        corrected = self._corrected(decided) if decided.state is CoilState.ENDED else decided
        self._coil_mm, self._coil_area, self._coil_lines = dict.fromkeys(Quality, 0.0), StripArea(), 0
        return corrected

    def _corrected(self, decided: CoilNotice) -> CoilNotice:
        coil_mm, area, lines = self._coil_mm, self._coil_area, self._coil_lines
        moved_mm = sum(coil_mm.values())
        grade = decided.grade
        untold_mm2 = area.inspected_mm2 + area.degraded_mm2
        if grade is not None:
            untold_share = area.inspected_mm2 / max(decided.area.passed_mm2, 1.0)
            grade = replace(
                grade,
                text=f"{grade.text}; {moved_mm:.0f} mm were inspected but could not be told, and count as missed",
                inspected_share=max(0.0, grade.inspected_share - untold_share),
            )
        causes = Counter(decided.missed_lines_by_cause)
        causes[Cause.UNTOLD] += lines
        mm2 = decided.uninspected_mm2_by_cause
        return replace(
            decided,
            inspected_mm=max(0.0, decided.inspected_mm - coil_mm[Quality.INSPECTED]),
            degraded_mm=max(0.0, decided.degraded_mm - coil_mm[Quality.DEGRADED]),
            missed_mm=decided.missed_mm + moved_mm,
            missed_lines_by_cause=dict(causes),
            area=decided.area.plus(replace(area, missed_mm2=0.0), -1).plus(StripArea(missed_mm2=untold_mm2)),
            uninspected_mm2_by_cause={**mm2, Cause.UNTOLD: mm2.get(Cause.UNTOLD, 0.0) + untold_mm2},
            grade=grade,
        )
