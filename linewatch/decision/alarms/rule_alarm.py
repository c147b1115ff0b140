"""The alarm of one rule: its states, its delays in metres of strip, and the transitions that are published."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from linewatch.config.decision import AlarmRule
from linewatch.contracts.alarm import Alarm, AlarmAction, AlarmChange, AlarmCommand, AlarmState, ShelvingState
from linewatch.decision.alarms.conditions import RuleCandidate
from linewatch.decision.alarms.states import AlarmStates, Event, Life, step
from linewatch.decision.alarms.system import SystemRule
from linewatch.decision.rules import DecisionRules

Rule = AlarmRule | SystemRule


@dataclass(frozen=True, slots=True)
class RuleAlarm:
    """The alarm of one rule.

    since_mm: where the running delay began. alarm: the active alarm as it was last published. shelf: the shelving as it
    was last published. held_back: the flood alarm stands for this one.
    """

    rule: Rule
    states: AlarmStates = field(default_factory=AlarmStates)
    since_mm: float = 0.0
    alarm: Alarm | None = None
    shelf: Alarm | None = None
    candidates: tuple[RuleCandidate, ...] = ()
    held_back: bool = False

    @property
    def on_strip(self) -> bool:
        """Whether verdicts drive this alarm and the coil's end clears it."""
        return isinstance(self.rule, AlarmRule) or self.rule.on_strip

    def resume(self, alarm: Alarm) -> "RuleAlarm":
        """Take over an alarm or shelf of this rule that was published before a restart."""
        if alarm.id == self.rule.name:
            return replace(self, shelf=alarm, states=replace(self.states, shelving=alarm.shelving_state))
        life = Life.ACKED if alarm.acked_state else Life.UNACKED
        return replace(self, alarm=alarm, states=replace(self.states, life=life, suppressed=alarm.suppressed_state))

    def after(self, event: Event) -> "RuleAlarm":
        """Step the states by an event, without publishing anything yet."""
        states = step(self.states, event, latches=self.rule.latch)
        return self if states is self.states else replace(self, states=states)

    def observe(self, true: bool, at_mm: float) -> "RuleAlarm":
        """Step the states by a frame that ends at `at_mm` and in which the rule is `true` or not.

        A delay counts from the end of the frame that began it, so it is never shorter than configured and at most one
        frame longer.
        """
        now = self.after(Event.CONDITION_TRUE if true else Event.CONDITION_FALSE)
        if now.states.delayed and not self.states.delayed:
            now = replace(now, since_mm=at_mm)
        passed_mm = at_mm - now.since_mm
        if now.states.life is Life.RISING and passed_mm >= self.rule.on_delay_m * 1000:
            now = now.after(Event.ON_DELAY_OVER)
        elif now.states.delayed and not true and passed_mm >= self.rule.off_delay_m * 1000:
            now = now.after(Event.OFF_DELAY_OVER)
        return now

    def transitions(
        self, begin: Callable[[], Alarm] | None = None, command: AlarmCommand | None = None
    ) -> tuple["RuleAlarm", tuple[Alarm, ...]]:
        """Return the transitions since the last call. begin: makes the alarm if it has become active."""
        rule_alarm, changes = self, []
        if rule_alarm.shelf is not None and rule_alarm.states.shelving is ShelvingState.UNSHELVED:
            changes.append(released(rule_alarm.shelf, command))
            rule_alarm = replace(rule_alarm, shelf=None)
        before = rule_alarm.alarm
        if before is not None and not rule_alarm.states.active:
            acked = before.acked_state or (command is not None and command.action is AlarmAction.ACKNOWLEDGE)
            changes.append(replace(rule_alarm._with_states(over(before, command)), acked_state=acked))
            rule_alarm = replace(rule_alarm, alarm=None)
        elif rule_alarm.states.active and (before is not None or begin is not None):
            base = before if before is not None else begin()  # type: ignore[misc]
            state = AlarmState.RAISED if rule_alarm.states.asks else AlarmState.CLEARED
            now = replace(
                rule_alarm._with_states(base), state=state, acked_state=rule_alarm.states.acked, command=command
            )
            change = AlarmChange.ACTIVE if before is None else _change(before, now)
            if change is not None:
                now = replace(now, change=change)
                changes.append(now)
                rule_alarm = replace(rule_alarm, alarm=now)
        return rule_alarm, tuple(changes)

    def _with_states(self, alarm: Alarm) -> Alarm:
        return replace(
            alarm,
            shelving_state=self.states.shelving,
            shelved_until_unix_ns=self.shelf.shelved_until_unix_ns if self.shelf else None,
            suppressed_state=self.states.suppressed,
        )


def without_frame(
    name: str, rule: Rule, text: str, state: AlarmState, rules: DecisionRules, coil: str, end_mm: float
) -> Alarm:
    """Return an alarm that no frame caused, placed at `end_mm`, the end of the decided strip."""
    return Alarm(
        id=name,
        rule=rule.name,
        state=state,
        latched=rule.latch,
        coil=coil,
        side=rules.side,
        camera=rules.camera,
        along_mm=end_mm,
        defect_ids=(),
        text=text,
        priority=rule.priority,
    )


def over(alarm: Alarm, command: AlarmCommand | None = None) -> Alarm:
    """Return the final transition of an alarm."""
    return replace(
        alarm,
        state=AlarmState.CLEARED,
        change=AlarmChange.INACTIVE,
        retain=False,
        active_state=False,
        command=command,
    )


def released(shelf: Alarm, command: AlarmCommand | None = None) -> Alarm:
    """Return the final transition of a shelving."""
    return replace(
        shelf,
        change=AlarmChange.UNSHELVED,
        retain=False,
        shelving_state=ShelvingState.UNSHELVED,
        shelved_until_unix_ns=None,
        command=command,
    )


def _change(before: Alarm, now: Alarm) -> AlarmChange | None:
    if now.acked_state != before.acked_state:
        return AlarmChange.ACKNOWLEDGED
    shelving = (now.shelving_state, now.shelved_until_unix_ns)
    if shelving != (before.shelving_state, before.shelved_until_unix_ns):
        shelved = now.shelving_state is not ShelvingState.UNSHELVED
        return AlarmChange.SHELVED if shelved else AlarmChange.UNSHELVED
    if now.suppressed_state != before.suppressed_state:
        return AlarmChange.SUPPRESSED if now.suppressed_state else AlarmChange.UNSUPPRESSED
    return None
