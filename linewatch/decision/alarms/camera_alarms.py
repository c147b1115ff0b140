"""The alarms of one camera: one per rule and run of defects, never one per tile or frame.

Rules about defects, the built-in rules about the inspection itself, operators' commands and floods all pass through the
state machine in `states`. Delays are metres of strip, so a recording alarms exactly as the live strip did; only
shelving follows the clock, whose time is an argument. Alarms about the strip end with the coil; shelving does not.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from linewatch.config.decision import AlarmRule
from linewatch.contracts.alarm import (
    Alarm,
    AlarmAction,
    AlarmOrder,
    AlarmState,
    HostState,
    Priority,
)
from linewatch.contracts.picture import PictureHealth
from linewatch.contracts.verdict import RollMark, RollMarkState, Verdict
from linewatch.decision.alarms.alarm_commands import Refusal, is_meant, moved, refusal_of, shelf_of, shelving_is_over
from linewatch.decision.alarms.conditions import Finding, find, find_roll_mark
from linewatch.decision.alarms.picture import PICTURE_ALARMS, picture_text
from linewatch.decision.alarms.rule_alarm import Rule, RuleAlarm, over, released, without_frame
from linewatch.decision.alarms.states import Event
from linewatch.decision.alarms.system import (
    COVERAGE_LOW,
    FLOOD,
    Uninspected,
    end_text,
    host_text,
    strip_text,
    system_rules,
)
from linewatch.decision.rules import DecisionRules


@dataclass(frozen=True, slots=True)
class Alarms:
    """The alarm state of one camera.

    standing: alarms published by an earlier run, kept until the rules are known. lately_mm: where the newest alarms
    began. rolls: the roll marks that are being followed.
    """

    rule_alarms: tuple[RuleAlarm, ...] = ()
    standing: tuple[Alarm, ...] = ()
    rules: DecisionRules | None = None
    coil: str = ""
    end_mm: float = 0.0
    uninspected: Uninspected = field(default_factory=Uninspected)
    lately_mm: tuple[float, ...] = ()
    rolls: tuple[RollMark, ...] = ()


def start_coil(
    alarms: Alarms, rules: DecisionRules, coil: str, side: str, camera: str
) -> tuple[Alarms, tuple[Alarm, ...]]:
    """Begin a coil. Return the alarms and the transitions of those that ended.

    An alarm of an earlier run on the same coil, side and camera is taken over, not raised again, if its rule still
    exists; other alarms about the strip are cleared.
    """
    alarms, changes = apply_rules(alarms, rules)
    rule_alarms: list[RuleAlarm] = []
    for rule_alarm in alarms.rule_alarms:
        alarm = rule_alarm.alarm
        if rule_alarm.on_strip and alarm is not None and (alarm.coil, alarm.side, alarm.camera) != (coil, side, camera):
            rule_alarm, ended = rule_alarm.after(Event.COIL_END).transitions()  # noqa: PLW2901
            changes += ended
        rule_alarms.append(rule_alarm)
    alarms = replace(
        alarms, rule_alarms=tuple(rule_alarms), coil=coil, end_mm=0.0, uninspected=Uninspected(), lately_mm=(), rolls=()
    )
    return alarms, tuple(sorted(changes, key=lambda alarm: alarm.id))


def goes_on(alarms: Alarms, coil: str, end_mm: float, uninspected: Uninspected) -> Alarms:
    """Return the alarms of a coil that goes on over a restart; those of it that stood are taken over."""
    return replace(alarms, coil=coil, end_mm=end_mm, uninspected=uninspected)


def apply_rules(alarms: Alarms, rules: DecisionRules) -> tuple[Alarms, tuple[Alarm, ...]]:
    """Apply `rules`. Return the alarms, and the last transitions of those whose rule no longer exists."""
    if alarms.rules is rules:
        return alarms, ()
    known = {rule_alarm.rule.name: rule_alarm for rule_alarm in alarms.rule_alarms}
    wanted: tuple[Rule, ...] = (*rules.alarms, *system_rules(rules.system_alarms, rules.alarm_settings))
    rule_alarms = {rule.name: replace(known.pop(rule.name, RuleAlarm(rule)), rule=rule) for rule in wanted}
    gone = [
        alarm for rule_alarm in known.values() for alarm in (rule_alarm.shelf, rule_alarm.alarm) if alarm is not None
    ]
    for alarm in alarms.standing:
        rule_alarm = rule_alarms.get(alarm.rule)
        taken = rule_alarm is not None and (rule_alarm.shelf if alarm.id == alarm.rule else rule_alarm.alarm) is None
        if rule_alarm is not None and taken:
            rule_alarms[alarm.rule] = rule_alarm.resume(alarm)
        else:
            gone.append(alarm)
    ended = tuple(released(alarm) if alarm.id == alarm.rule else over(alarm) for alarm in gone)
    return replace(alarms, rule_alarms=tuple(rule_alarms.values()), standing=(), rules=rules), ended


def follow_verdict(alarms: Alarms, verdict: Verdict, rules: DecisionRules) -> tuple[Alarms, tuple[Alarm, ...]]:
    """Return the transitions caused by a verdict whose `defects` are decided."""
    alarms, gone = apply_rules(alarms, rules)
    end_mm, settings = verdict.along_mm[1], rules.alarm_settings
    conditions = rules.conditions
    threading = (
        end_mm <= settings.head_exclusion_m * 1000 or conditions.between or conditions.excludes(verdict.along_mm)
    )
    uninspected = alarms.uninspected
    if rules.system_alarms is not None and not threading:
        uninspected = uninspected.put_right(verdict.corrections, verdict.corrected)
        uninspected = uninspected.plus(verdict.along_mm, verdict.spans, rules.system_alarms.coverage_within_m * 1000)
    rolls = _followed(alarms.rolls, verdict.roll_marks)
    busy_groups = {rule_alarm.rule.group for rule_alarm in alarms.rule_alarms if rule_alarm.states.active}
    window_mm = settings.flood_window_m * 1000
    lately = [at_mm for at_mm in alarms.lately_mm if at_mm > end_mm - window_mm]
    before = len(lately)
    rule_alarms: list[RuleAlarm] = []
    changes: list[Alarm] = list(gone)
    for rule_alarm in alarms.rule_alarms:
        if not rule_alarm.on_strip or rule_alarm.rule.name == FLOOD:
            rule_alarms.append(rule_alarm)
            continue
        rule_alarm, finding = _observe(rule_alarm, verdict, uninspected, rolls, rules)  # noqa: PLW2901
        now = rule_alarm.observe(finding is not None, end_mm)
        if now.states.active and not rule_alarm.states.active:
            lately.append(end_mm)
            flooded = settings.flood_count is not None and len(lately) > settings.flood_count
            now = replace(now, held_back=flooded and now.rule.priority is not Priority.URGENT)
        now = now.after(Event.SUPPRESS if threading or now.held_back else Event.UNSUPPRESS)
        if now is rule_alarm:
            rule_alarms.append(now)
            continue
        now, transitions = now.transitions(lambda: _begin(now.rule, finding, verdict, busy_groups))  # noqa: B023
        if now.states.active:
            busy_groups.add(now.rule.group)
        rule_alarms.append(now)
        changes += transitions
    alarms = replace(alarms, rule_alarms=tuple(rule_alarms), end_mm=end_mm, uninspected=uninspected, rolls=rolls)
    if settings.flood_count is not None:
        alarms, transitions = _flood(alarms, lately, len(lately) - before, verdict, settings.flood_count, window_mm)
        changes += transitions
    return alarms, tuple(changes)


def end_coil(alarms: Alarms) -> tuple[Alarms, tuple[Alarm, ...]]:
    """End the coil: clear every alarm about the strip. A coil of which too little was inspected alarms before."""
    rule_alarms: list[RuleAlarm] = []
    changes: list[Alarm] = []
    for rule_alarm in alarms.rule_alarms:
        if rule_alarm.rule.name == COVERAGE_LOW and not rule_alarm.states.active:
            rule_alarm, begun = _observe_end(rule_alarm, alarms)  # noqa: PLW2901
            changes += begun
        if rule_alarm.on_strip:
            rule_alarm, ended = replace(rule_alarm.after(Event.COIL_END), candidates=(), held_back=False).transitions()  # noqa: PLW2901
            changes += ended
        rule_alarms.append(rule_alarm)
    return replace(alarms, rule_alarms=tuple(rule_alarms), coil=""), tuple(changes)


def _observe_end(rule_alarm: RuleAlarm, alarms: Alarms) -> tuple[RuleAlarm, tuple[Alarm, ...]]:
    """Return `coverage-low` at the end of the coil, and its transitions."""
    rules = alarms.rules
    if rules is None or rules.system_alarms is None:
        return rule_alarm, ()
    text = end_text(alarms.uninspected, alarms.end_mm, rules.system_alarms)
    if text is None:
        return rule_alarm, ()
    rule = rule_alarm.rule
    name = f"{rule.name}/{alarms.coil}/{rules.side}/{rules.camera}/end"
    text = f"{rule.name}: {text}"

    def begin() -> Alarm:
        return without_frame(name, rule, text, AlarmState.RAISED, rules, alarms.coil, alarms.end_mm)

    return rule_alarm.observe(True, alarms.end_mm).after(Event.UNSUPPRESS).transitions(begin)


def follow_host(alarms: Alarms, host: HostState, rules: DecisionRules) -> tuple[Alarms, tuple[Alarm, ...]]:
    """Return the transitions caused by the clock and the host's state."""
    alarms, gone = apply_rules(alarms, rules)
    longest_minutes = rules.alarm_settings.max_shelve_minutes
    rule_alarms: list[RuleAlarm] = []
    changes: list[Alarm] = list(gone)
    for rule_alarm in alarms.rule_alarms:
        now = rule_alarm
        if (shelf := moved(now.shelf, host.clock_step_ns)) is not None:
            now = replace(now, shelf=shelf)
            changes.append(shelf)
        if shelving_is_over(now.shelf, host.now_unix_ns, longest_minutes):
            now = now.after(Event.TIME_LIMIT)
        found = None
        if not now.on_strip and rules.system_alarms is not None:
            found = host_text(now.rule.name, host, rules.system_alarms, active=now.states.active)
        if found is not None:
            now = now.observe(found[0], 0.0)
        if now is rule_alarm:
            rule_alarms.append(now)
            continue
        text = found[1] if found else ""
        now, transitions = now.transitions(lambda: _begin_host(now.rule, text, alarms, host, rules))  # noqa: B023
        rule_alarms.append(now)
        changes += transitions
    return replace(alarms, rule_alarms=tuple(rule_alarms)), tuple(changes)


def follow_picture(
    alarms: Alarms, health: PictureHealth, verdict: Verdict, rules: DecisionRules
) -> tuple[Alarms, tuple[Alarm, ...]]:
    """Return the transitions caused by the health of the picture, of which `verdict` is a frame that was measured."""
    rule_alarms: list[RuleAlarm] = []
    changes: list[Alarm] = []
    for rule_alarm in alarms.rule_alarms:
        name = rule_alarm.rule.name
        found = picture_text(name, health, active=rule_alarm.states.active) if name in PICTURE_ALARMS else None
        if found is None:
            rule_alarms.append(rule_alarm)
            continue
        finding = Finding(verdict.along_mm[0], (), f"{name}: {found[1]}")
        now, transitions = rule_alarm.observe(found[0], health.strip_mm).transitions(
            lambda: _begin(rule_alarm.rule, finding, verdict, set())  # noqa: B023
        )
        rule_alarms.append(now)
        changes += transitions
    return replace(alarms, rule_alarms=tuple(rule_alarms)), tuple(changes)


def carry_out(
    alarms: Alarms, order: AlarmOrder, rules: DecisionRules
) -> tuple[Alarms, tuple[Alarm, ...], Refusal | None]:
    """Return the transitions caused by a command. No transition and no refusal: the command changes nothing."""
    alarms, gone = apply_rules(alarms, rules)
    meant = [i for i, rule_alarm in enumerate(alarms.rule_alarms) if is_meant(rule_alarm, order)]
    refusal = refusal_of(order, alarms.rule_alarms, meant, rules)
    if refusal is not None:
        return alarms, gone, refusal
    rule_alarms, changes = list(alarms.rule_alarms), list(gone)
    for i in meant:
        rule_alarm = rule_alarms[i]
        match order.command.action:
            case AlarmAction.ACKNOWLEDGE:
                rule_alarm = rule_alarm.after(Event.ACKNOWLEDGE)
            case AlarmAction.UNSHELVE:
                rule_alarm = rule_alarm.after(Event.UNSHELVE)
            case AlarmAction.SHELVE:
                rule_alarm = rule_alarm.after(Event.SHELVE_ONCE if order.minutes is None else Event.SHELVE_TIMED)
                shelf = shelf_of(rule_alarm, order, rules, alarms.coil, alarms.end_mm)
                rule_alarm = replace(rule_alarm, shelf=shelf)
                changes.append(shelf)
        rule_alarms[i], transitions = rule_alarm.transitions(command=order.command)
        changes += transitions
    return replace(alarms, rule_alarms=tuple(rule_alarms)), tuple(changes), None


def _followed(before: tuple[RollMark, ...], news: tuple[RollMark, ...]) -> tuple[RollMark, ...]:
    if not news:
        return before
    rolls = {roll.id: roll for roll in (*before, *news)}
    return tuple(roll for roll in rolls.values() if roll.state is not RollMarkState.ENDED)


def _observe(
    rule_alarm: RuleAlarm, verdict: Verdict, uninspected: Uninspected, rolls: tuple[RollMark, ...], rules: DecisionRules
) -> tuple[RuleAlarm, Finding | None]:
    """Return the rule's alarm with this verdict remembered and, if the rule is true, the reason."""
    rule = rule_alarm.rule
    if isinstance(rule, AlarmRule) and rule.roll_mark:
        return rule_alarm, find_roll_mark(rule, rolls)
    if isinstance(rule, AlarmRule):
        candidates, finding = find(rule, rule_alarm.candidates, verdict, rules, active=rule_alarm.states.active)
        return (
            rule_alarm if candidates == rule_alarm.candidates else replace(rule_alarm, candidates=candidates)
        ), finding
    if rules.system_alarms is None:
        return rule_alarm, None
    text = strip_text(rule.name, verdict, uninspected, rules.system_alarms, active=rule_alarm.states.active)
    at_mm = verdict.along_mm[0]
    return rule_alarm, None if text is None else Finding(at_mm, (), f"{rule.name}: {text} at {at_mm / 1000:.3f} m")


def _flood(
    alarms: Alarms, lately: list[float], new: int, verdict: Verdict, limit: int, window_mm: float
) -> tuple[Alarms, tuple[Alarm, ...]]:
    """Step the flood alarm after a frame in which `new` alarms began. Its end releases the alarms that it held back."""
    at = next(i for i, rule_alarm in enumerate(alarms.rule_alarms) if rule_alarm.rule.name == FLOOD)
    rule_alarm = alarms.rule_alarms[at]
    active = rule_alarm.states.active
    count = (rule_alarm.alarm.count + new) if rule_alarm.alarm else len(lately)
    text = f"{FLOOD}: {count} alarms, more than {limit} within {window_mm / 1000:g} m"
    if rule_alarm.alarm is not None:
        rule_alarm = replace(rule_alarm, alarm=replace(rule_alarm.alarm, count=count, text=text))
    rule_alarm = rule_alarm.observe(len(lately) > (limit // 2 if active else limit), verdict.along_mm[1])

    def begin() -> Alarm:
        return replace(_begin(rule_alarm.rule, Finding(verdict.along_mm[0], (), text), verdict, set()), count=count)

    rule_alarm, changes = rule_alarm.transitions(begin)
    rule_alarms = [rule_alarm if i == at else other for i, other in enumerate(alarms.rule_alarms)]
    if active and not rule_alarm.states.active:
        rule_alarms = [replace(other, held_back=False) for other in rule_alarms]
    return replace(alarms, rule_alarms=tuple(rule_alarms), lately_mm=tuple(lately[-limit - 1 :])), changes


def _begin(rule: Rule, finding: Finding | None, verdict: Verdict, busy_groups: set[str | None]) -> Alarm:
    assert finding is not None  # only a true rule becomes active
    return Alarm(
        id=f"{rule.name}/{verdict.coil}/{verdict.side}/{verdict.camera}/{verdict.first_line}",
        rule=rule.name,
        state=AlarmState.RAISED,
        latched=rule.latch,
        coil=verdict.coil,
        side=verdict.side,
        camera=verdict.camera,
        along_mm=finding.along_mm,
        defect_ids=finding.defect_ids,
        text=finding.text,
        priority=rule.priority,
        first_in_group=rule.group is not None and rule.group not in busy_groups,
    )


def _begin_host(rule: Rule, text: str, alarms: Alarms, host: HostState, rules: DecisionRules) -> Alarm:
    name = f"{rule.name}/{rules.side}/{rules.camera}/{host.now_unix_ns // 1_000_000}"
    text = f"{rule.name}: {text}"
    return without_frame(name, rule, text, AlarmState.RAISED, rules, alarms.coil, alarms.end_mm)


def initial(standing: Iterable[Alarm]) -> Alarms:
    """Return the state before the first frame. standing: alarms and shelves that the journal retained."""
    return Alarms(standing=tuple(standing))
