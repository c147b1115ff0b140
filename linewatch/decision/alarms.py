"""Alarms: one per rule and run of defects, never one per tile or frame (ISA-18.2: an event that asks for an operator).

A rule is true while some stretch of `within_m` metres, reaching the frame that is decided, touches `min_count`
defects that each satisfy it; with a count of 1, while a defect in that frame does. When it becomes true the alarm is
raised, be the defect still open. A latched alarm then stands until the coil ends; another is cleared in the first
frame that finds the rule false. So a rule makes at most one transition per frame, and remembers `min_count` closed
defects and those that are open.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from linewatch.config.decision import AlarmRule
from linewatch.contracts.verdict import Alarm, AlarmState, Defect, DefectState, Verdict
from linewatch.decision.rules import DecisionRules


@dataclass(frozen=True, slots=True)
class Candidate:
    """A defect that satisfies a rule on its own, and whether it is open."""

    defect: Defect
    open: bool

    @property
    def begin_mm(self) -> float:
        return self.defect.box.along_mm[0]

    @property
    def end_mm(self) -> float:
        return self.defect.box.along_mm[1]


@dataclass(frozen=True, slots=True)
class Watch:
    """One rule's memory. `standing` is its raised alarm."""

    rule: AlarmRule
    candidates: tuple[Candidate, ...] = ()
    standing: Alarm | None = None


def start_watches(
    rules: DecisionRules, standing: Iterable[Alarm], coil: str, side: str, camera: str
) -> tuple[tuple[Watch, ...], tuple[Alarm, ...]]:
    """Watches for a coil, and the transitions of earlier alarms that are over.

    standing: alarms that stood when the last run was cut off. Those of this coil, side, camera and a rule that still
    is are taken over and not raised again; the others are cleared.
    """
    earlier = sorted(standing, key=lambda alarm: alarm.id)
    ours = {alarm.rule: alarm for alarm in earlier if (alarm.coil, alarm.side, alarm.camera) == (coil, side, camera)}
    watches = tuple(Watch(rule, standing=ours.get(rule.name)) for rule in rules.alarms)
    taken = {watch.standing.id for watch in watches if watch.standing is not None}
    return watches, tuple(replace(alarm, state=AlarmState.CLEARED) for alarm in earlier if alarm.id not in taken)


def judge(
    watches: tuple[Watch, ...], verdict: Verdict, rules: DecisionRules
) -> tuple[tuple[Watch, ...], tuple[Alarm, ...]]:
    """The alarms' transitions for a verdict whose `defects` are decided."""
    after: list[Watch] = []
    transitions: list[Alarm] = []
    for before in watches:
        watch = before
        if watch.standing is None or not watch.rule.latch:
            # ACKNOWLEDGE: an operator's acknowledgement will end a latch here, once commands reach the daemon.
            watch, transition = _step(watch, verdict, rules)
            transitions += [transition] if transition else []
        after.append(watch)
    return tuple(after), tuple(transitions)


def end_watches(watches: tuple[Watch, ...]) -> tuple[Alarm, ...]:
    """The coil has ended: whatever stands is cleared."""
    return tuple(replace(watch.standing, state=AlarmState.CLEARED) for watch in watches if watch.standing is not None)


def _step(watch: Watch, verdict: Verdict, rules: DecisionRules) -> tuple[Watch, Alarm | None]:
    rule = watch.rule
    window_mm = rule.within_m * 1000 if rule.min_count > 1 else 0.0
    candidates = _recall(watch, verdict, rules, window_mm)
    members = _together(candidates, rule.min_count, window_mm)
    if members and watch.standing is None:
        alarm = _raised(rule, members, verdict)
        return Watch(rule, candidates, alarm), alarm
    if not members and watch.standing is not None:
        return Watch(rule, candidates), replace(watch.standing, state=AlarmState.CLEARED)
    return Watch(rule, candidates, watch.standing), None


def _recall(watch: Watch, verdict: Verdict, rules: DecisionRules, window_mm: float) -> tuple[Candidate, ...]:
    """What satisfies the rule and can share a stretch with this frame, by place."""
    known = {candidate.defect.id: candidate for candidate in watch.candidates}
    for event in verdict.defects:
        defect, is_open = event.defect, event.state is not DefectState.CLOSED
        known.pop(defect.id, None)
        if event.merged_into is None and _satisfies(defect, watch.rule, rules):
            known[defect.id] = Candidate(defect, is_open)
    here_mm = verdict.along_mm[0]
    in_sight = [
        c
        for c in known.values()
        if c.open or c.end_mm > here_mm or (watch.rule.min_count > 1 and c.end_mm >= here_mm - window_mm)
    ]
    # Of the closed ones the newest `min_count` suffice: a stretch that reaches an older one reaches these too.
    closed = sorted((c for c in in_sight if not c.open), key=lambda c: (c.end_mm, c.defect.id))[-watch.rule.min_count :]
    return tuple(sorted([*(c for c in in_sight if c.open), *closed], key=lambda c: (c.begin_mm, c.defect.id)))


def _satisfies(defect: Defect, rule: AlarmRule, rules: DecisionRules) -> bool:
    begin_mm, end_mm = defect.box.along_mm
    return (
        defect.defect_class not in rules.pseudo_classes
        and (not rule.classes or defect.defect_class in rule.classes)
        and defect.area_mm2 >= rule.min_area_mm2
        and end_mm - begin_mm >= rule.min_length_mm
        and defect.confidence >= rule.min_confidence
    )


def _together(candidates: tuple[Candidate, ...], count: int, window_mm: float) -> list[Candidate]:
    """The first `count` or more candidates (by place) that one stretch touches; none if there is no such stretch."""
    if len(candidates) < count:
        return []
    for i, last in enumerate(candidates):
        members = [c for c in candidates[: i + 1] if c.end_mm >= last.begin_mm - window_mm]
        if len(members) >= count:
            return members
    return []


def _raised(rule: AlarmRule, members: list[Candidate], verdict: Verdict) -> Alarm:
    first = members[0].defect
    (left_mm, right_mm), (begin_mm, end_mm) = first.box.across_mm, first.box.along_mm
    what = (
        f"{first.defect_class}, {end_mm - begin_mm:.0f} mm long, {right_mm - left_mm:.0f} mm wide"
        if rule.min_count == 1
        else f"{len(members)} defects within {rule.within_m:g} m"
    )
    return Alarm(
        id=f"{rule.name}/{verdict.coil}/{verdict.side}/{verdict.camera}/{verdict.first_line}",
        rule=rule.name,
        state=AlarmState.RAISED,
        latched=rule.latch,
        coil=verdict.coil,
        side=verdict.side,
        camera=verdict.camera,
        along_mm=begin_mm,
        defect_ids=tuple(member.defect.id for member in members),
        text=f"{rule.name}: {what} at {begin_mm / 1000:.3f} m",
    )
