"""Grading: how bad each defect is, and what that makes of the coil. The same code live, in replay and from a store.

A grade is a function of a set of defects and of what was inspected: neither their order nor how they were dealt out
over calls changes it, and one defect more never makes it better. Figures are rounded as they are published, so what
is stored grades as what was decided did.

What is kept of a coil while it runs is bounded, whatever its length: the `KEPT` defects that begin furthest along and
those of the excluded tail, in columns; of what lies further back one sum per limit; the newest `MAX_STRETCHES`
separate stretches of each length that a limit is about. The result is exact but for a defect that closes after `KEPT`
others that began behind its own beginning: these are not seen in one stretch (`within_m`) with it.
"""

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Self

import numpy as np

from linewatch.config.grading import SEVERITIES, UNGRADED, UNKNOWN_SEVERITY, GradingSettings, LimitRule, Selection
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.verdict import CoilGrade, CoverageSpan, Defect, GradeReason, Quality
from linewatch.geometry.stretches import Stretches

KEPT = 8_192
MAX_STRETCHES = 65_536
NAMED = 8
"""So many defects are named in a reason."""

_PENDING = 1_024
_JOIN_MM = 0.0015
"""Inspected spans that are nearer than this touch: their ends are rounded to 0.001 mm."""

IntervalMm = tuple[float, float]


@dataclass(frozen=True, slots=True)
class GradingRules:
    """A file of rules, joined with the taxonomy. `identity` is name@digest of the rules' content."""

    settings: GradingSettings
    identity: str
    class_severities: Mapping[str, int]  # of the real classes, in the taxonomy's order
    pseudo_classes: frozenset[str]

    @classmethod
    def of(cls, settings: GradingSettings, taxonomy: Taxonomy) -> Self:
        """Of rules that `load_grading` has checked against this taxonomy."""
        digest = hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:12]
        real = {name: SEVERITIES[one.severity] for name, one in taxonomy.classes.items() if not one.pseudo}
        return cls(settings, f"{settings.name}@{digest}", real, frozenset(taxonomy.pseudo_classes))

    @property
    def head_mm(self) -> float:
        return self.settings.head_excluded_m * 1000

    @property
    def tail_mm(self) -> float:
        return self.settings.tail_excluded_m * 1000

    @property
    def reach_mm(self) -> float:
        """The longest stretch in which a limit counts."""
        return max((limit.within_m or 0.0 for limit in self.settings.limit), default=0.0) * 1000


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """Closed defects in columns of one length n; millimetres as they are published.

    class_code: the class's place in `GradingRules.class_severities`, -1 for one that is not there. edge_mm: NaN where
    no edge was seen. severity: 1..5.
    """

    ids: np.ndarray  # object, str
    class_code: np.ndarray
    top: np.ndarray  # bool: the strip's side
    begin_mm: np.ndarray
    end_mm: np.ndarray
    width_mm: np.ndarray
    area_mm2: np.ndarray
    edge_mm: np.ndarray
    confidence: np.ndarray
    periodic: np.ndarray  # bool: part of a roll mark
    severity: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> Self:
        """Those of a mask or of places."""
        return type(self)(**{one.name: getattr(self, one.name)[rows] for one in fields(self)})


def instances_of(defects: Iterable[Defect], rules: GradingRules, periodic: Collection[str] = ()) -> Instances:
    """The columns of closed defects, by where they begin; pseudo-defects are left out: they are never graded.

    periodic: ids of those that belong to a roll mark.
    """
    codes = {name: code for code, name in enumerate(rules.class_severities)}
    rows = [
        (
            defect.id,
            codes.get(defect.defect_class, -1),
            defect.side == "top",
            round(defect.box.along_mm[0], 3),
            round(defect.box.along_mm[1], 3),
            round(round(defect.box.across_mm[1], 3) - round(defect.box.across_mm[0], 3), 3),
            round(defect.area_mm2, 3),
            math.nan if defect.edge_mm is None else round(defect.edge_mm, 3),
            round(defect.confidence, 4),
            defect.id in periodic,
        )
        for defect in defects
        if defect.defect_class not in rules.pseudo_classes
    ]
    columns = list(zip(*rows, strict=True)) or [()] * 10
    types = (object, np.int16, bool, *[np.float64] * 6, bool)
    arrays = [np.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    found = Instances(*[*arrays, np.zeros(len(rows), np.int8)])
    return _rated(found.take(np.argsort(found.begin_mm, kind="stable")), rules)


def severities_of(defects: Sequence[Defect], rules: GradingRules) -> list[int | None]:
    """The severity of each defect as it is known so far; None for a pseudo-defect."""
    found = instances_of(defects, rules)
    by_id = dict(zip(found.ids.tolist(), found.severity.tolist(), strict=True))
    return [by_id.get(defect.id) for defect in defects]


@dataclass(frozen=True, slots=True)
class LimitSums:
    """What one limit remembers of the defects that it is about.

    worst: of the worst ones (-severity, -area_mm2, begin_mm, id), ascending. crowd: the stretch that holds most of
    them: (count, where it begins, ids).
    """

    count: int = 0
    worst: tuple[tuple[int, float, float, str], ...] = ()
    crowd: tuple[int, float, tuple[str, ...]] = (0, 0.0, ())
    affected: Stretches = field(default_factory=Stretches)


@dataclass(frozen=True, slots=True)
class GradingState:
    """What is kept of one coil, see above; it is graded by the rules that it began with."""

    rules: GradingRules
    rows: Instances
    sums: tuple[LimitSums, ...]
    by_severity: tuple[int, ...] = (0,) * 6
    pending: tuple[Defect, ...] = ()
    periodic: frozenset[str] = frozenset()
    inspected: Stretches = field(default_factory=Stretches)
    spans: tuple[IntervalMm, ...] = ()
    end_mm: float = 0.0

    @classmethod
    def begin(cls, rules: GradingRules) -> Self:
        """Before the first defect of a coil."""
        return cls(rules, instances_of((), rules), (LimitSums(),) * len(rules.settings.limit))


def observe(
    state: GradingState,
    closed: Iterable[Defect] = (),
    spans: Iterable[CoverageSpan] = (),
    end_mm: float = 0.0,
    periodic: Collection[str] = (),
) -> GradingState:
    """A frame more: the defects that closed for good, how its strip was looked at, how far the coil goes.

    periodic: ids of defects that have closed, now or earlier, and are now known to belong to a roll mark.
    """
    looked = [span.along_mm for span in spans if span.quality is Quality.INSPECTED]
    state = replace(
        state,
        pending=(*state.pending, *closed),
        spans=_extended(state.spans, looked),
        end_mm=max(state.end_mm, round(end_mm, 3)),
        periodic=state.periodic.union(periodic) if periodic else state.periodic,
    )
    if len(state.pending) < _PENDING and len(state.spans) < _PENDING:
        return state
    state = _taken_up(state)
    return _settled(state) if len(state.rows) > 2 * KEPT or len(state.inspected.kept) > MAX_STRETCHES else state


def finish_grading(state: GradingState) -> CoilGrade:
    """The grade of the coil, which ends at `state.end_mm`."""
    state, rules = _taken_up(state), state.rules
    begin_mm, end_mm = rules.head_mm, max(rules.head_mm, state.end_mm - rules.tail_mm)
    graded = state.rows.begin_mm < end_mm
    sums, by_severity = _summed(state, graded, graded)
    length_mm = round(end_mm - begin_mm, 3)
    seen_mm = round(state.inspected.length_mm(end_mm), 3)
    share = min(1.0, math.floor(seen_mm / length_mm * 1e4 + 1e-6) / 1e4) if length_mm else 0.0
    reasons = [
        reason
        for limit, summed in zip(rules.settings.limit, sums, strict=True)
        if (reason := _reason(limit, summed, length_mm, end_mm, share)) is not None
    ]
    grades = rules.settings.grades
    reasons.sort(key=lambda reason: -grades.index(reason.grade))
    grade = reasons[0].grade if reasons else grades[0]
    if not length_mm:
        grade, text = UNGRADED, f"{UNGRADED}: no strip between the excluded ends"
    elif not share:
        grade, text = UNGRADED, f"{UNGRADED}: of {_metres(length_mm)} less than 0.01 % was inspected"
    else:
        text = f"{grade}, of {math.floor(share * 1000 + 1e-6) / 10:.1f} % inspected"
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
    inspected_mm: Iterable[IntervalMm],
    end_mm: float,
    periodic: Collection[str] = (),
) -> CoilGrade:
    """The grade of a whole coil at once: its closed defects, its inspected stretches along, its length."""
    state = replace(
        GradingState.begin(rules),
        pending=tuple(defects),
        periodic=frozenset(periodic),
        spans=_extended((), inspected_mm),
        end_mm=round(end_mm, 3),
    )
    return finish_grading(state)


def _extended(spans: tuple[IntervalMm, ...], more: Iterable[IntervalMm]) -> tuple[IntervalMm, ...]:
    """Spans in strip order, those that touch in one: an uninterrupted coil is one span."""
    kept = list(spans)
    for one in more:
        begin, end = round(one[0], 3), round(one[1], 3)
        if kept and kept[-1][0] <= begin <= kept[-1][1] + _JOIN_MM:
            kept[-1] = (kept[-1][0], max(kept[-1][1], end))
        else:
            kept.append((begin, end))
    return tuple(kept)


def _rated(rows: Instances, rules: GradingRules) -> Instances:
    defaults = np.array([*rules.class_severities.values(), UNKNOWN_SEVERITY], np.int8)  # code -1 is the last
    severity = defaults[rows.class_code]
    for rule in reversed(rules.settings.severity):
        severity = np.where(_fits(rule, rows, rules), np.int8(rule.severity), severity)
    return replace(rows, severity=severity)


def _fits(rule: Selection, rows: Instances, rules: GradingRules) -> np.ndarray:
    """bool (n,)."""
    fits = np.ones(len(rows), bool)
    if rule.classes:
        fits &= np.isin(
            rows.class_code, [code for code, name in enumerate(rules.class_severities) if name in rule.classes]
        )
    if rule.side is not None:
        fits &= rows.top == (rule.side == "top")
    sizes = {"area_mm2": rows.area_mm2, "length_mm": rows.end_mm - rows.begin_mm, "width_mm": rows.width_mm}
    for name, size in sizes.items():
        least, most = getattr(rule, f"min_{name}"), getattr(rule, f"max_{name}")
        if least:
            fits &= size >= least - 5e-7  # a difference of two published figures is not quite a published figure
        if most is not None:
            fits &= size <= most + 5e-7
    if rule.min_confidence:
        fits &= rows.confidence >= rule.min_confidence
    if rule.edge_zone_mm is not None:
        if rule.edge_zone == "inside":
            fits &= rows.edge_mm + rows.width_mm <= rule.edge_zone_mm + 5e-7
        elif rule.edge_zone == "touching":
            fits &= rows.edge_mm < rule.edge_zone_mm
        else:
            fits &= rows.edge_mm >= rule.edge_zone_mm
    if rule.periodic is not None:
        fits &= rows.periodic == rule.periodic
    return fits


def _taken_up(state: GradingState) -> GradingState:
    """Pending defects and spans are in their columns; what lies before the graded length is gone."""
    rules, rows = state.rules, state.rows
    if state.pending:
        rows = _joined(rows, instances_of(state.pending, rules, state.periodic))
        rows = rows.take(rows.end_mm > rules.head_mm)
    if state.periodic:
        flagged = rows.periodic | np.array([name in state.periodic for name in rows.ids.tolist()], bool)
        rows = _rated(replace(rows, periodic=flagged), rules)
    spans = np.maximum(np.array(state.spans, np.float64).reshape(-1, 2), rules.head_mm)
    return replace(state, rows=rows, inspected=state.inspected.add(spans, _JOIN_MM), pending=(), spans=state.spans[-1:])


def _joined(one: Instances, other: Instances) -> Instances:
    both = Instances(*(np.concatenate([getattr(one, f.name), getattr(other, f.name)]) for f in fields(one)))
    return both.take(np.argsort(both.begin_mm, kind="stable"))


def _settled(state: GradingState) -> GradingState:
    """All but the newest rows are in the sums: those to which nothing can be added any more."""
    rows, rules = state.rows, state.rules
    certain_mm = state.end_mm - rules.tail_mm
    old = rows.begin_mm + rules.reach_mm <= certain_mm
    old[max(0, len(rows) - KEPT) :] = False
    sums, by_severity = _summed(state, old, rows.begin_mm < certain_mm)
    kept = rows.take(~old)
    return replace(
        state,
        rows=kept,
        sums=tuple(replace(one, affected=one.affected.settle(MAX_STRETCHES)) for one in sums),
        by_severity=by_severity,
        periodic=state.periodic.intersection(kept.ids.tolist()),
        inspected=state.inspected.settle(MAX_STRETCHES // 2),
    )


def _summed(state: GradingState, new: np.ndarray, around: np.ndarray) -> tuple[tuple[LimitSums, ...], tuple[int, ...]]:
    """The sums with the rows `new`, bool (n,); stretches that begin at one of them count the rows `around`, too."""
    rows = state.rows
    order = np.lexsort((rows.begin_mm, -rows.area_mm2, -rows.severity.astype(np.int16)))
    counts = np.bincount(rows.severity[new], minlength=6)
    sums = tuple(
        _summed_limit(limit, before, state, new, around, order)
        for limit, before in zip(state.rules.settings.limit, state.sums, strict=True)
    )
    return sums, tuple((np.array(state.by_severity) + counts).tolist())


def _summed_limit(
    limit: LimitRule, before: LimitSums, state: GradingState, new: np.ndarray, around: np.ndarray, order: np.ndarray
) -> LimitSums:
    rows = state.rows
    if limit.inspected_below_share is not None:
        return before
    fits = _fits(limit, rows, state.rules) & (rows.severity >= limit.min_severity)
    chosen = fits & new
    if not chosen.any():
        return before
    crowd, affected = before.crowd, before.affected
    if limit.within_m is not None:
        crowd = min(crowd, _crowd(rows, np.flatnonzero(fits & around), chosen, limit.within_m * 1000, order), key=_rank)
    if limit.affected_over_mm is not None or limit.affected_over_share is not None:
        begins = np.maximum(rows.begin_mm[chosen], state.rules.head_mm)
        affected = affected.add(np.stack([begins, rows.end_mm[chosen]], axis=1))
    return LimitSums(
        count=before.count + int(chosen.sum()),
        worst=tuple(sorted([*before.worst, *_worst(rows, chosen, order)])[:NAMED]),
        crowd=crowd,
        affected=affected,
    )


def _rank(crowd: tuple[int, float, tuple[str, ...]]) -> tuple[int, float]:
    return -crowd[0], crowd[1]


def _crowd(
    rows: Instances, places: np.ndarray, starts: np.ndarray, within_mm: float, order: np.ndarray
) -> tuple[int, float, tuple[str, ...]]:
    """The fullest stretch of `within_mm` among those that begin where one of `starts` does; the first of several.

    A defect counts where it begins. places: ascending rows that count; starts: bool (n,).
    """
    begins = rows.begin_mm[places]
    counts = np.searchsorted(begins, begins + within_mm - 5e-7) - np.searchsorted(begins, begins)
    counts[~starts[places]] = 0
    best = int(np.argmax(counts))
    members = np.zeros(len(rows), bool)
    first = int(np.searchsorted(begins, begins[best]))
    members[places[first : first + int(counts[best])]] = True
    named = tuple(name for *_, name in sorted(_worst(rows, members, order))[:NAMED])
    return int(counts[best]), float(begins[best]), named


def _worst(rows: Instances, chosen: np.ndarray, order: np.ndarray) -> list[tuple[int, float, float, str]]:
    """The NAMED worst of the chosen rows, and all that are as bad as the last of them, so that ids can decide."""
    ranked = order[chosen[order]]
    keys = np.stack([-rows.severity[ranked].astype(np.float64), -rows.area_mm2[ranked], rows.begin_mm[ranked]], axis=1)
    alike = (keys[NAMED:] == keys[NAMED - 1]).all(axis=1) if len(ranked) > NAMED else np.zeros(0, bool)
    more = int(np.argmin(np.append(alike, False)))
    return [
        (int(key[0]), float(key[1]), float(key[2]), str(name))
        for key, name in zip(keys[: NAMED + more], rows.ids[ranked[: NAMED + more]], strict=True)
    ]


def _reason(limit: LimitRule, sums: LimitSums, length_mm: float, end_mm: float, share: float) -> GradeReason | None:
    """Why the limit is exceeded, or None."""
    text, ids = None, tuple(name for *_, name in sums.worst)
    count, at_mm, crowded = sums.crowd
    affected_mm = round(sums.affected.length_mm(end_mm), 3)
    if limit.more_than is not None and limit.within_m is not None:
        if count > limit.more_than:
            stretch = f"in {limit.within_m:g} m at {at_mm / 1000:.3f} m"
            text, ids = f"{count} {_in_words(limit, count)} {stretch}, more than {limit.more_than}", crowded
    elif limit.more_than is not None:
        if sums.count > limit.more_than:
            text = f"{sums.count} {_in_words(limit, sums.count)}, more than {limit.more_than}"
    elif limit.more_than_per_m is not None:
        if length_mm and sums.count / (length_mm / 1000) > limit.more_than_per_m:
            mean = sums.count / (length_mm / 1000)
            of = f"{sums.count} in {_metres(length_mm)}"
            text = f"{mean:.3g} {_in_words(limit)} per metre ({of}), more than {limit.more_than_per_m:g}"
    elif limit.affected_over_mm is not None:
        if affected_mm > limit.affected_over_mm:
            text = f"{affected_mm:.0f} mm affected by {_in_words(limit)}, more than {limit.affected_over_mm:g} mm"
    elif limit.affected_over_share is not None:
        if length_mm and affected_mm / length_mm > limit.affected_over_share:
            of = f"{_metres(affected_mm)} of {_metres(length_mm)}"
            text = (
                f"{affected_mm / length_mm:.2%} of the length affected by {_in_words(limit)} ({of}), "
                f"more than {limit.affected_over_share:.2%}"
            )
    elif limit.inspected_below_share is not None and share < limit.inspected_below_share:
        text = f"{share:.2%} of the graded length was inspected, less than {limit.inspected_below_share:.2%}"
    return None if text is None else GradeReason(limit.name, limit.grade, text, ids)


def _metres(mm: float) -> str:
    return f"{mm / 1000:.1f} m"


def _in_words(limit: LimitRule, count: int = 2) -> str:
    """What a limit is about: `scratch or sliver defects of severity 4 or more of at least 300 mm long`."""
    words = [*([" or ".join(limit.classes)] if limit.classes else []), "defect" if count == 1 else "defects"]
    if limit.side is not None:
        words.append(f"on the {limit.side} side")
    if limit.min_severity > 1:
        words.append(f"of severity {limit.min_severity}" + (" or more" if limit.min_severity < 5 else ""))
    if limit.periodic is not None:
        words.append("in a roll mark" if limit.periodic else "in no roll mark")
    for name, unit, adjective in (("length", "mm", " long"), ("width", "mm", " wide"), ("area", "mm2", "")):
        least, most = getattr(limit, f"min_{name}_{unit}"), getattr(limit, f"max_{name}_{unit}")
        words += [f"of at least {least:g} {unit}{adjective}"] if least else []
        words += [f"of at most {most:g} {unit}{adjective}"] if most is not None else []
    if limit.edge_zone_mm is not None:
        words.append(f"{limit.edge_zone} the edge zone of {limit.edge_zone_mm:g} mm")
    if limit.min_confidence:
        words.append(f"of confidence {limit.min_confidence:g} or more")
    return " ".join(words)
