"""The alarms of one camera: one per rule and run of defects, never one per tile or frame.

Rules of defects, the built-in rules of the inspection itself, an operator's commands and a flood all go through the
state machine of `alarm_states`. Delays are metres of strip, so that a recording alarms as the live strip did; only
shelving is by the clock, which comes in from outside. What is decided within a coil ends with it; shelving does not.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from linewatch.config.decision import AlarmRule
from linewatch.contracts.alarm import (
    Alarm,
    AlarmAction,
    AlarmChange,
    AlarmOrder,
    AlarmState,
    HostState,
    Priority,
    ShelvingState,
)
from linewatch.contracts.verdict import RollMark, RollMarkState, Verdict
from linewatch.decision.alarms.conditions import Finding, find, find_roll_mark
from linewatch.decision.alarms.rule_alarm import Rule, Watch, over, released
from linewatch.decision.alarms.states import Event
from linewatch.decision.alarms.system import FLOOD, Uninspected, host_text, strip_text, system_rules
from linewatch.decision.rules import DecisionRules

NS_PER_MINUTE = 60_000_000_000
_CLOCK_SLACK_NS = NS_PER_MINUTE  # a clock that stepped back further than this ends a shelving: the safe side


@dataclass(frozen=True, slots=True)
class Alarms:
    """standing: told of in an earlier run, until the rules are known. lately_mm: where the newest alarms began.
    rolls: the rows of roll marks that are followed.
    """

    watches: tuple[Watch, ...] = ()
    standing: tuple[Alarm, ...] = ()
    rules: DecisionRules | None = None
    coil: str = ""
    end_mm: float = 0.0
    uninspected: Uninspected = field(default_factory=Uninspected)
    lately_mm: tuple[float, ...] = ()
    rolls: tuple[RollMark, ...] = ()

    @property
    def shelved(self) -> bool:
        """Some rule is shelved: somebody has to tell the time."""
        return any(watch.shelf is not None for watch in self.watches) or bool(self.standing)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a command is not carried out."""

    text: str


def start_coil(
    alarms: Alarms, rules: DecisionRules, coil: str, side: str, camera: str
) -> tuple[Alarms, tuple[Alarm, ...]]:
    """Alarms for a coil, and the transitions of those that are over.

    Alarms of an earlier run that are of this coil, side, camera and a rule that still is are taken over and not raised
    again; others of the strip are cleared.
    """
    alarms, told = settle(alarms, rules)
    watches: list[Watch] = []
    for watch in alarms.watches:
        alarm = watch.alarm
        if watch.on_strip and alarm is not None and (alarm.coil, alarm.side, alarm.camera) != (coil, side, camera):
            watch, ended = watch.after(Event.COIL_END).tell()  # noqa: PLW2901
            told += ended
        watches.append(watch)
    alarms = replace(
        alarms, watches=tuple(watches), coil=coil, end_mm=0.0, uninspected=Uninspected(), lately_mm=(), rolls=()
    )
    return alarms, tuple(sorted(told, key=lambda alarm: alarm.id))


def settle(alarms: Alarms, rules: DecisionRules) -> tuple[Alarms, tuple[Alarm, ...]]:
    """Alarms that watch what `rules` ask for, and the last transitions of those that they ask for no more."""
    if alarms.rules is rules:
        return alarms, ()
    known = {watch.rule.name: watch for watch in alarms.watches}
    wanted: tuple[Rule, ...] = (*rules.alarms, *system_rules(rules.system_alarms, rules.alarm_settings))
    watches = {rule.name: replace(known.pop(rule.name, Watch(rule)), rule=rule) for rule in wanted}
    gone = [told for watch in known.values() for told in (watch.shelf, watch.alarm) if told is not None]
    for told in alarms.standing:
        watch = watches.get(told.rule)
        taken = watch is not None and (watch.shelf if told.id == told.rule else watch.alarm) is None
        if watch is not None and taken:
            watches[told.rule] = watch.resume(told)
        else:
            gone.append(told)
    ended = tuple(released(told) if told.id == told.rule else over(told) for told in gone)
    return replace(alarms, watches=tuple(watches.values()), standing=(), rules=rules), ended


def judge(alarms: Alarms, verdict: Verdict, rules: DecisionRules) -> tuple[Alarms, tuple[Alarm, ...]]:
    """The transitions that a verdict brings whose `defects` are decided."""
    alarms, gone = settle(alarms, rules)
    end_mm, settings = verdict.along_mm[1], rules.alarm_settings
    passage = rules.passage
    threading = end_mm <= settings.head_exclusion_m * 1000 or passage.between or passage.excludes(verdict.along_mm)
    uninspected = alarms.uninspected
    if rules.system_alarms is not None and not threading:
        uninspected = uninspected.plus(verdict, rules.system_alarms.coverage_within_m * 1000)
    rolls = _followed(alarms.rolls, verdict.roll_marks)
    busy_groups = {watch.rule.group for watch in alarms.watches if watch.states.active}
    window_mm = settings.flood_window_m * 1000
    lately = [at_mm for at_mm in alarms.lately_mm if at_mm > end_mm - window_mm]
    before = len(lately)
    watches: list[Watch] = []
    told: list[Alarm] = list(gone)
    for watch in alarms.watches:
        if not watch.on_strip or watch.rule.name == FLOOD:
            watches.append(watch)
            continue
        watch, finding = _look(watch, verdict, uninspected, rolls, rules)  # noqa: PLW2901
        now = watch.observe(finding is not None, end_mm)
        if now.states.active and not watch.states.active:
            lately.append(end_mm)
            flooded = settings.flood_count is not None and len(lately) > settings.flood_count
            now = replace(now, held_back=flooded and now.rule.priority is not Priority.URGENT)
        now = now.after(Event.SUPPRESS if threading or now.held_back else Event.UNSUPPRESS)
        if now is watch:
            watches.append(now)
            continue
        now, transitions = now.tell(lambda: _begin(now.rule, finding, verdict, busy_groups))  # noqa: B023
        if now.states.active:
            busy_groups.add(now.rule.group)
        watches.append(now)
        told += transitions
    alarms = replace(alarms, watches=tuple(watches), end_mm=end_mm, uninspected=uninspected, rolls=rolls)
    if settings.flood_count is not None:
        alarms, transitions = _flood(alarms, lately, len(lately) - before, verdict, settings.flood_count, window_mm)
        told += transitions
    return alarms, tuple(told)


def end_coil(alarms: Alarms) -> tuple[Alarms, tuple[Alarm, ...]]:
    """The coil has ended: whatever of the strip stands is cleared."""
    watches: list[Watch] = []
    told: list[Alarm] = []
    for watch in alarms.watches:
        if watch.on_strip:
            watch, ended = replace(watch.after(Event.COIL_END), candidates=(), held_back=False).tell()  # noqa: PLW2901
            told += ended
        watches.append(watch)
    return replace(alarms, watches=tuple(watches), coil=""), tuple(told)


def attend(alarms: Alarms, host: HostState, rules: DecisionRules) -> tuple[Alarms, tuple[Alarm, ...]]:
    """The transitions that the time and the host bring."""
    alarms, gone = settle(alarms, rules)
    watches: list[Watch] = []
    told: list[Alarm] = list(gone)
    for watch in alarms.watches:
        now = watch.after(Event.TIME_LIMIT) if _run_out(watch.shelf, host.now_unix_ns) else watch
        found = None
        if not now.on_strip and rules.system_alarms is not None:
            found = host_text(now.rule.name, host, rules.system_alarms, active=now.states.active)
        if found is not None:
            now = now.observe(found[0], 0.0)
        if now is watch:
            watches.append(now)
            continue
        text = found[1] if found else ""
        now, transitions = now.tell(lambda: _begin_host(now.rule, text, alarms, host, rules))  # noqa: B023
        watches.append(now)
        told += transitions
    return replace(alarms, watches=tuple(watches)), tuple(told)


def obey(alarms: Alarms, order: AlarmOrder, rules: DecisionRules) -> tuple[Alarms, tuple[Alarm, ...], Refusal | None]:
    """The transitions that a command brings. None at all, without a refusal: it is so already."""
    alarms, gone = settle(alarms, rules)
    meant = [i for i, watch in enumerate(alarms.watches) if _is_meant(watch, order)]
    refusal = _refuse(alarms, meant, order, rules)
    if refusal is not None:
        return alarms, gone, refusal
    watches, told = list(alarms.watches), list(gone)
    for i in meant:
        watch = watches[i]
        match order.command.action:
            case AlarmAction.ACKNOWLEDGE:
                watch = watch.after(Event.ACKNOWLEDGE)
            case AlarmAction.UNSHELVE:
                watch = watch.after(Event.UNSHELVE)
            case AlarmAction.SHELVE:
                watch = watch.after(Event.SHELVE_ONCE if order.minutes is None else Event.SHELVE_TIMED)
                shelf = _shelf(watch, order, alarms, rules)
                watch = replace(watch, shelf=shelf)
                told.append(shelf)
        watches[i], transitions = watch.tell(command=order.command)
        told += transitions
    return replace(alarms, watches=tuple(watches)), tuple(told), None


def _followed(before: tuple[RollMark, ...], news: tuple[RollMark, ...]) -> tuple[RollMark, ...]:
    if not news:
        return before
    rolls = {roll.id: roll for roll in (*before, *news)}
    return tuple(roll for roll in rolls.values() if roll.state is not RollMarkState.ENDED)


def _look(
    watch: Watch, verdict: Verdict, uninspected: Uninspected, rolls: tuple[RollMark, ...], rules: DecisionRules
) -> tuple[Watch, Finding | None]:
    """The watch with its memory of this verdict, and why its rule is true, if it is."""
    rule = watch.rule
    if isinstance(rule, AlarmRule) and rule.roll_mark:
        return watch, find_roll_mark(rule, rolls)
    if isinstance(rule, AlarmRule):
        candidates, finding = find(rule, watch.candidates, verdict, rules, active=watch.states.active)
        return (watch if candidates == watch.candidates else replace(watch, candidates=candidates)), finding
    if rules.system_alarms is None:
        return watch, None
    text = strip_text(rule.name, verdict, uninspected, rules.system_alarms, active=watch.states.active)
    at_mm = verdict.along_mm[0]
    return watch, None if text is None else Finding(at_mm, (), f"{rule.name}: {text} at {at_mm / 1000:.3f} m")


def _flood(
    alarms: Alarms, lately: list[float], new: int, verdict: Verdict, limit: int, window_mm: float
) -> tuple[Alarms, tuple[Alarm, ...]]:
    """The flood alarm behind a frame in which `new` alarms began; its end lets those go that it stood for."""
    at = next(i for i, watch in enumerate(alarms.watches) if watch.rule.name == FLOOD)
    watch = alarms.watches[at]
    active = watch.states.active
    count = (watch.alarm.count + new) if watch.alarm else len(lately)
    text = f"{FLOOD}: {count} alarms, more than {limit} within {window_mm / 1000:g} m"
    if watch.alarm is not None:
        watch = replace(watch, alarm=replace(watch.alarm, count=count, text=text))
    watch = watch.observe(len(lately) > (limit // 2 if active else limit), verdict.along_mm[1])

    def begin() -> Alarm:
        return replace(_begin(watch.rule, Finding(verdict.along_mm[0], (), text), verdict, set()), count=count)

    watch, told = watch.tell(begin)
    watches = [watch if i == at else other for i, other in enumerate(alarms.watches)]
    if active and not watch.states.active:
        watches = [replace(other, held_back=False) for other in watches]
    return replace(alarms, watches=tuple(watches), lately_mm=tuple(lately[-limit - 1 :])), told


def _begin(rule: Rule, finding: Finding | None, verdict: Verdict, busy_groups: set[str | None]) -> Alarm:
    assert finding is not None  # what becomes active is true
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
    return _without_frame(name, rule, f"{rule.name}: {text}", AlarmState.RAISED, alarms, rules)


def _without_frame(name: str, rule: Rule, text: str, state: AlarmState, alarms: Alarms, rules: DecisionRules) -> Alarm:
    """Where the strip that was decided ends."""
    return Alarm(
        id=name,
        rule=rule.name,
        state=state,
        latched=rule.latch,
        coil=alarms.coil,
        side=rules.side,
        camera=rules.camera,
        along_mm=alarms.end_mm,
        defect_ids=(),
        text=text,
        priority=rule.priority,
    )


def _is_meant(watch: Watch, order: AlarmOrder) -> bool:
    if order.command.action is AlarmAction.ACKNOWLEDGE and watch.alarm is None:
        return False
    return order.alarm is None or order.alarm in (watch.rule.name, watch.alarm.id if watch.alarm else None)


def _refuse(alarms: Alarms, meant: list[int], order: AlarmOrder, rules: DecisionRules) -> Refusal | None:
    acknowledge = order.command.action is AlarmAction.ACKNOWLEDGE
    if not meant and (order.alarm is not None or not acknowledge):
        known = ", ".join(watch.rule.name for watch in alarms.watches) or "none"
        what = "no such alarm stands" if acknowledge else f"no alarm and no rule has that name; the rules are {known}"
        return Refusal(f"{order.alarm!r}: {what}; `linewatch alarms` lists what stands")
    longest = rules.alarm_settings.max_shelve_minutes
    if order.minutes is not None and order.minutes > longest:
        return Refusal(f"{order.minutes:g} minutes; expected at most {longest:g}, [alarms] max_shelve_minutes")
    return None


def _shelf(watch: Watch, order: AlarmOrder, alarms: Alarms, rules: DecisionRules) -> Alarm:
    name, command = watch.rule.name, order.command
    minutes = rules.alarm_settings.max_shelve_minutes if order.minutes is None else order.minutes
    length = f"for {minutes:g} min" if order.minutes is not None else f"until it is over, for {minutes:g} min at most"
    text = f"{name}: shelved {length} by {command.asker}"
    return replace(
        _without_frame(name, watch.rule, text, AlarmState.CLEARED, alarms, rules),
        change=AlarmChange.SHELVED,
        active_state=False,
        acked_state=True,
        shelving_state=watch.states.shelving,
        shelved_until_unix_ns=command.at_unix_ns + round(minutes * NS_PER_MINUTE),
        command=command,
    )


def _run_out(shelf: Alarm | None, now_unix_ns: int) -> bool:
    if shelf is None or shelf.shelved_until_unix_ns is None or shelf.shelving_state is ShelvingState.UNSHELVED:
        return False
    began_ns = shelf.command.at_unix_ns if shelf.command else 0
    return now_unix_ns >= shelf.shelved_until_unix_ns or now_unix_ns < began_ns - _CLOCK_SLACK_NS


def initial(standing: Iterable[Alarm]) -> Alarms:
    """Before the first frame. standing: alarms and shelves that the journal retains."""
    return Alarms(standing=tuple(standing))
