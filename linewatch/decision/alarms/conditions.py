"""The conditions of alarm rules about defects: enough defects that match the rule, close enough to each other.

A rule is true while a stretch of `within_m` metres that reaches the current frame touches at least `min_count` matching
defects; with a count of 1, while a matching defect lies in the frame. Once it has alarmed, it stays true until the
count falls short by more than `deadband_count`. A rule remembers `min_count` closed defects and all open ones.
"""

from dataclasses import dataclass

from linewatch.config.decision import AlarmRule
from linewatch.contracts.verdict import Defect, DefectState, RollMark, Verdict
from linewatch.decision.rules import DecisionRules


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a rule is true: where on the strip, because of which defects, and as text."""

    along_mm: float
    defect_ids: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class RuleCandidate:
    """A defect that matches a rule on its own, and whether it is still open."""

    defect: Defect
    open: bool

    @property
    def begin_mm(self) -> float:
        return self.defect.box.along_mm[0]

    @property
    def end_mm(self) -> float:
        return self.defect.box.along_mm[1]


def find(
    rule: AlarmRule, before: tuple[RuleCandidate, ...], verdict: Verdict, rules: DecisionRules, *, active: bool
) -> tuple[tuple[RuleCandidate, ...], Finding | None]:
    """Return the rule's candidates after this verdict and, if the rule is true, the reason. active: it has alarmed."""
    if not before and not verdict.defects:
        return (), None
    window_mm = rule.within_m * 1000 if rule.min_count > 1 else 0.0
    candidates = _recall(rule, before, verdict, rules, window_mm)
    members = _together(candidates, rule.min_count - (rule.deadband_count if active else 0), window_mm)
    return candidates, _finding(rule, members) if members else None


def find_roll_mark(rule: AlarmRule, rolls: tuple[RollMark, ...]) -> Finding | None:
    """Return why a rule about roll marks is true, by the first matching roll mark; None if it is false."""
    for roll in rolls:
        if roll.marks >= rule.min_count and (not rule.classes or roll.defect_class in rule.classes):
            begin_mm, suspects = roll.along_mm[0], " or ".join(one.roll for one in roll.suspects[:2])
            return Finding(
                begin_mm,
                roll.defect_ids,
                f"{rule.name}: {roll.defect_class} every {roll.pitch_mm:.0f} mm at {roll.across_mm[0]:.0f} mm across "
                f"since {begin_mm / 1000:.3f} m, {suspects or 'no configured roll fits'}",
            )
    return None


def _recall(
    rule: AlarmRule, before: tuple[RuleCandidate, ...], verdict: Verdict, rules: DecisionRules, window_mm: float
) -> tuple[RuleCandidate, ...]:
    """Return the matching defects that can share a stretch with this frame, by place."""
    last = {event.defect.id: event for event in verdict.defects}
    known = {one.defect.id: one for one in before if one.defect.id not in last}
    for name, event in last.items():
        if event.merged_into is None and _satisfies(event.defect, rule, rules):
            known[name] = RuleCandidate(event.defect, event.state is not DefectState.CLOSED)
    here_mm = verdict.along_mm[0]
    in_sight = [
        c
        for c in known.values()
        if c.open or c.end_mm > here_mm or (rule.min_count > 1 and c.end_mm >= here_mm - window_mm)
    ]
    # The newest `min_count` closed defects suffice: a stretch that reaches an older one reaches these as well.
    closed = sorted((c for c in in_sight if not c.open), key=lambda c: (c.end_mm, c.defect.id))[-rule.min_count :]
    return tuple(sorted([*(c for c in in_sight if c.open), *closed], key=lambda c: (c.begin_mm, c.defect.id)))


def _satisfies(defect: Defect, rule: AlarmRule, rules: DecisionRules) -> bool:
    begin_mm, end_mm = defect.box.along_mm
    return (
        not defect.tentative
        and defect.defect_class not in rules.pseudo_classes
        and (not rule.classes or defect.defect_class in rule.classes)
        and defect.area_mm2 >= rule.min_area_mm2
        and (end_mm - begin_mm >= rule.min_length_mm or defect.part_of is not None)  # a part continues a longer defect
        and defect.confidence >= rule.min_confidence
        and defect.probability >= rule.min_probability
        and end_mm > rules.alarm_settings.head_exclusion_m * 1000
        and not rules.conditions.excludes(defect.box.along_mm)
    )


def _together(candidates: tuple[RuleCandidate, ...], count: int, window_mm: float) -> list[RuleCandidate]:
    """Return the first `count` or more candidates, by place, that one stretch touches; [] without such a stretch."""
    if len(candidates) < count:
        return []
    for i, last in enumerate(candidates):
        members = [c for c in candidates[: i + 1] if c.end_mm >= last.begin_mm - window_mm]
        if len(members) >= count:
            return members
    return []


def _finding(rule: AlarmRule, members: list[RuleCandidate]) -> Finding:
    first = members[0].defect
    (left_mm, right_mm), (begin_mm, end_mm) = first.box.across_mm, first.box.along_mm
    what = (
        f"{first.defect_class}, {end_mm - begin_mm:.0f} mm long, {right_mm - left_mm:.0f} mm wide"
        if rule.min_count == 1
        else f"{len(members)} defects within {rule.within_m:g} m"
    )
    return Finding(
        begin_mm,
        tuple(member.defect.id for member in members),
        f"{rule.name}: {what} at {begin_mm / 1000:.3f} m",
    )
