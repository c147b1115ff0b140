"""One rule's alarm: its states, its delays in metres of strip, and what is told of it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from linewatch.config.decision import AlarmRule
from linewatch.contracts.alarm import Alarm, AlarmAction, AlarmChange, AlarmCommand, AlarmState, ShelvingState
from linewatch.decision.alarms.conditions import Candidate
from linewatch.decision.alarms.states import AlarmStates, Event, Life, step
from linewatch.decision.alarms.system import SystemRule

Rule = AlarmRule | SystemRule


@dataclass(frozen=True, slots=True)
class Watch:
    """One rule's memory.

    since_mm: where the delay that is running began. alarm: while it is active, as it was last told of. shelf: while it
    is shelved, the same. held_back: a flood stands for it.
    """

    rule: Rule
    states: AlarmStates = field(default_factory=AlarmStates)
    since_mm: float = 0.0
    alarm: Alarm | None = None
    shelf: Alarm | None = None
    candidates: tuple[Candidate, ...] = ()
    held_back: bool = False

    @property
    def on_strip(self) -> bool:
        """It is told of by verdicts, and over with the coil."""
        return isinstance(self.rule, AlarmRule) or self.rule.on_strip

    def resume(self, told: Alarm) -> "Watch":
        """Take over what was told of this rule before a restart."""
        if told.id == self.rule.name:
            return replace(self, shelf=told, states=replace(self.states, shelving=told.shelving_state))
        life = Life.ACKED if told.acked_state else Life.UNACKED
        return replace(self, alarm=told, states=replace(self.states, life=life, suppressed=told.suppressed_state))

    def after(self, event: Event) -> "Watch":
        """Behind an event that nobody is told of yet."""
        states = step(self.states, event, latches=self.rule.latch)
        return self if states is self.states else replace(self, states=states)

    def observe(self, true: bool, at_mm: float) -> "Watch":
        """Behind a frame that ends at `at_mm`, in which the rule is `true` or not. A delay counts from the end of the
        frame that began it, so it is never shorter than configured, and up to a frame longer.
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

    def tell(
        self, begin: Callable[[], Alarm] | None = None, command: AlarmCommand | None = None
    ) -> tuple["Watch", tuple[Alarm, ...]]:
        """The transitions since it was last told of. begin: the alarm, should it have become active."""
        watch, told = self, []
        if watch.shelf is not None and watch.states.shelving is ShelvingState.UNSHELVED:
            told.append(released(watch.shelf, command))
            watch = replace(watch, shelf=None)
        before = watch.alarm
        if before is not None and not watch.states.active:
            acked = before.acked_state or (command is not None and command.action is AlarmAction.ACKNOWLEDGE)
            told.append(replace(watch._dress(over(before, command)), acked_state=acked))
            watch = replace(watch, alarm=None)
        elif watch.states.active and (before is not None or begin is not None):
            base = before if before is not None else begin()  # type: ignore[misc]
            state = AlarmState.RAISED if watch.states.asks else AlarmState.CLEARED
            now = replace(watch._dress(base), state=state, acked_state=watch.states.acked, command=command)
            change = AlarmChange.ACTIVE if before is None else _change(before, now)
            if change is not None:
                now = replace(now, change=change)
                told.append(now)
                watch = replace(watch, alarm=now)
        return watch, tuple(told)

    def _dress(self, alarm: Alarm) -> Alarm:
        return replace(
            alarm,
            shelving_state=self.states.shelving,
            shelved_until_unix_ns=self.shelf.shelved_until_unix_ns if self.shelf else None,
            suppressed_state=self.states.suppressed,
        )


def over(alarm: Alarm, command: AlarmCommand | None = None) -> Alarm:
    """The last that is told of an alarm."""
    return replace(
        alarm,
        state=AlarmState.CLEARED,
        change=AlarmChange.INACTIVE,
        retain=False,
        active_state=False,
        command=command,
    )


def released(shelf: Alarm, command: AlarmCommand | None = None) -> Alarm:
    """The last that is told of a shelf."""
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
