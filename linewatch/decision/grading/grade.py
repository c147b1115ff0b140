"""Grade a coil from its defects. The same code runs live, in replay and on stored coils.

A grade depends on the set of defects and on what was inspected, not on the order of the defects or on how they were
spread over calls, and an additional defect never improves it. Figures are rounded as they are published, so a stored
coil is graded as the live one was.

The memory of a running coil is bounded whatever its length: the `KEPT` defects that begin furthest along and those of
the excluded tail are kept in columns; defects further back are kept as one sum per limit; of each length that a limit
refers to, the newest `MAX_STRETCHES` separate stretches are kept, and of what was inspected the newest spans (see
`looked`). The result is exact, with one exception: a defect
that closes after `KEPT` others that began behind it is not counted in one stretch (`within_m`) with them.
"""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from linewatch.config.grading import UNGRADED
from linewatch.contracts.verdict import CoilGrade, CoverageSpan, Defect
from linewatch.decision.grading.limits import LimitSums, reason_of, summed
from linewatch.decision.grading.looked import MAX_SPANS, LookedAt
from linewatch.decision.grading.severity import GradingRules, Instances, instances_of, joined, rated

KEPT = 8_192
MAX_STRETCHES = 65_536

_PENDING = 1_024
_LEAST_SHARE = 1e-4
"""The inspected share below which a coil is ungraded even where a limit turns too little inspection into a grade."""


@dataclass(frozen=True, slots=True)
class GradingState:
    """The grading state of one coil, bounded as described above. The coil is graded by the rules that it began with."""

    rules: GradingRules
    rows: Instances
    sums: tuple[LimitSums, ...]
    by_severity: tuple[int, ...] = (0,) * 6
    pending: tuple[Defect, ...] = ()
    periodic: frozenset[str] = frozenset()
    looked: LookedAt = field(default_factory=LookedAt)
    end_mm: float = 0.0
    settled: bool = False  # some defects are kept as sums only

    @classmethod
    def begin(cls, rules: GradingRules) -> Self:
        """Return the state before the first defect of a coil."""
        return cls(rules, instances_of((), rules), (LimitSums(),) * len(rules.settings.limit))


def observe(
    state: GradingState,
    closed: Iterable[Defect] = (),
    spans: Iterable[CoverageSpan] = (),
    end_mm: float = 0.0,
    periodic: Collection[str] = (),
) -> GradingState:
    """Add a frame: the defects that closed for good, the coverage of its strip, and the length of the coil so far.

    periodic: ids of defects, closed now or earlier, that are now known to belong to a roll mark.
    """
    state = replace(
        state,
        pending=(*state.pending, *closed),
        looked=state.looked.plus(spans),
        end_mm=max(state.end_mm, round(end_mm, 3)),
        periodic=state.periodic.union(periodic) if periodic else state.periodic,
    )
    if len(state.looked.rows) > MAX_SPANS:
        rules = state.rules
        state = replace(state, looked=state.looked.settle(rules.head_mm, state.end_mm - rules.tail_mm), settled=True)
    if len(state.pending) < _PENDING:
        return state
    state = _taken_up(state)
    return _settled(state) if len(state.rows) > 2 * KEPT else state


def regraded(state: GradingState, rules: GradingRules) -> GradingState | None:
    """Return the coil under other rules, its defects rated again; None if some defects are kept as sums only."""
    state = _taken_up(state)
    if state.settled:
        return None
    return replace(state, rules=rules, rows=rated(state.rows, rules), sums=(LimitSums(),) * len(rules.settings.limit))


def finish_grading(state: GradingState) -> CoilGrade:
    """Return the grade of the coil, which ends at `state.end_mm`."""
    state, rules = _taken_up(state), state.rules
    begin_mm, end_mm = rules.head_mm, max(rules.head_mm, state.end_mm - rules.tail_mm)
    graded = (state.rows.begin_mm < end_mm) & (state.rows.end_mm > begin_mm)
    sums, by_severity = _summed(state, graded, graded)
    length_mm = round(end_mm - begin_mm, 3)
    share = min(1.0, math.floor(state.looked.share(begin_mm, end_mm) * 1e4 + 1e-6) / 1e4) if length_mm else 0.0
    reasons = [
        reason
        for limit, total in zip(rules.settings.limit, sums, strict=True)
        if (reason := reason_of(limit, total, length_mm, end_mm, share)) is not None
    ]
    grades = rules.settings.grades
    reasons.sort(key=lambda reason: -grades.index(reason.grade))
    about_strip = {limit.name for limit in rules.settings.limit if limit.inspected_below_share is not None}
    by_defects = next((reason.grade for reason in reasons if reason.rule not in about_strip), grades[0])
    demanded = _LEAST_SHARE if about_strip else rules.settings.min_inspected_share
    looked = f"{math.floor(share * 1000 + 1e-6) / 10:.1f} %"
    if not length_mm:
        grade, text = UNGRADED, f"{UNGRADED}: no strip between the excluded ends"
    elif share >= demanded:
        grade = reasons[0].grade if reasons else grades[0]
        text = f"{grade}, of {looked} inspected"
    elif by_defects == grades[-1]:
        grade, text = by_defects, f"{by_defects} by its defects, though too little was inspected: {looked}"
    else:
        grade = UNGRADED
        text = f"{UNGRADED}: too little was inspected, {looked}"
        if by_defects != grades[0]:
            text += f"; its defects alone give {by_defects}"
    return CoilGrade(
        grade=grade,
        text=text,
        rules=rules.identity,
        product=rules.settings.product,
        customer=rules.settings.customer,
        graded_mm=(begin_mm, end_mm),
        inspected_share=share,
        defects_by_severity={severity: by_severity[severity] for severity in range(1, 6) if by_severity[severity]},
        reasons=tuple(reasons),
    )


def grade_coil(
    rules: GradingRules,
    defects: Iterable[Defect],
    spans: Iterable[CoverageSpan],
    end_mm: float,
    periodic: Collection[str] = (),
) -> CoilGrade:
    """Grade a whole coil at once, from its closed defects, its spans in order along the strip, and its length."""
    state = replace(
        GradingState.begin(rules),
        pending=tuple(defects),
        periodic=frozenset(periodic),
        looked=LookedAt().plus(spans),
        end_mm=round(end_mm, 3),
    )
    return finish_grading(state)


def _taken_up(state: GradingState) -> GradingState:
    """Move pending defects into the columns."""
    rules, rows = state.rules, state.rows
    if state.pending:
        rows = joined(rows, instances_of(state.pending, rules, state.periodic))
    if state.periodic:
        flagged = rows.periodic | np.array([name in state.periodic for name in rows.ids.tolist()], bool)
        rows = rated(replace(rows, periodic=flagged), rules)
    return replace(state, rows=rows, pending=())


def _settled(state: GradingState) -> GradingState:
    """Move rows to which nothing can be added any more from the columns into the sums."""
    rows, rules = state.rows, state.rules
    certain_mm = state.end_mm - rules.tail_mm
    old = rows.begin_mm + rules.reach_mm <= certain_mm
    old[max(0, len(rows) - KEPT) :] = False
    graded = rows.end_mm > rules.head_mm
    sums, by_severity = _summed(state, old & graded, graded & (rows.begin_mm < certain_mm))
    kept = rows.take(~old)
    return replace(
        state,
        rows=kept,
        sums=tuple(replace(one, affected=one.affected.settle(MAX_STRETCHES)) for one in sums),
        by_severity=by_severity,
        periodic=state.periodic.intersection(kept.ids.tolist()),
        settled=True,
    )


def _summed(state: GradingState, new: np.ndarray, around: np.ndarray) -> tuple[tuple[LimitSums, ...], tuple[int, ...]]:
    """Add the rows `new`, bool (n,), to the sums. A stretch that begins at one also counts the rows `around`."""
    rows = state.rows
    order = np.lexsort((rows.begin_mm, -rows.area_mm2, -rows.severity.astype(np.int16)))
    counts = np.bincount(rows.severity[new], minlength=6)
    sums = tuple(
        summed(limit, before, rows, state.rules, new, around, order)
        for limit, before in zip(state.rules.settings.limit, state.sums, strict=True)
    )
    return sums, tuple((np.array(state.by_severity) + counts).tolist())
