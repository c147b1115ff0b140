"""What operators' commands do to the alarms of a camera: which are meant, why a command is refused, and shelving."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from linewatch.contracts.alarm import Alarm, AlarmAction, AlarmChange, AlarmOrder, AlarmState, ShelvingState
from linewatch.decision.alarms.rule_alarm import RuleAlarm, without_frame
from linewatch.decision.rules import DecisionRules

NS_PER_MINUTE = 60_000_000_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a command was refused."""

    text: str


def is_meant(rule_alarm: RuleAlarm, order: AlarmOrder) -> bool:
    """Return whether a command is about this rule's alarm: by the alarm's id, the rule's name, or as one of all."""
    if order.command.action is AlarmAction.ACKNOWLEDGE and rule_alarm.alarm is None:
        return False
    return order.alarm is None or order.alarm in (
        rule_alarm.rule.name,
        rule_alarm.alarm.id if rule_alarm.alarm else None,
    )


def refusal_of(
    order: AlarmOrder, rule_alarms: Iterable[RuleAlarm], meant: Collection[int], rules: DecisionRules
) -> Refusal | None:
    """Return why the command is refused, or None. meant: indices of the alarms that it addresses in `rule_alarms`."""
    acknowledge = order.command.action is AlarmAction.ACKNOWLEDGE
    if not meant and (order.alarm is not None or not acknowledge):
        known = ", ".join(rule_alarm.rule.name for rule_alarm in rule_alarms) or "none"
        what = "no such alarm stands" if acknowledge else f"no alarm and no rule has that name; the rules are {known}"
        return Refusal(f"{order.alarm!r}: {what}; `linewatch alarms` lists what stands")
    longest = rules.alarm_settings.max_shelve_minutes
    if order.minutes is not None and order.minutes > longest:
        return Refusal(f"{order.minutes:g} minutes; expected at most {longest:g}, [alarms] max_shelve_minutes")
    return None


def shelf_of(rule_alarm: RuleAlarm, order: AlarmOrder, rules: DecisionRules, coil: str, end_mm: float) -> Alarm:
    """Return the transition that shelves a rule, while `coil` is decided up to `end_mm`."""
    name, command = rule_alarm.rule.name, order.command
    minutes = rules.alarm_settings.max_shelve_minutes if order.minutes is None else order.minutes
    length = f"for {minutes:g} min" if order.minutes is not None else f"until it is over, for {minutes:g} min at most"
    text = f"{name}: shelved {length} by {command.asker}"
    if command.comment:
        text += f": {command.comment}"
    return replace(
        without_frame(name, rule_alarm.rule, text, AlarmState.CLEARED, rules, coil, end_mm),
        change=AlarmChange.SHELVED,
        active_state=False,
        acked_state=True,
        shelving_state=rule_alarm.states.shelving,
        shelved_until_unix_ns=command.at_unix_ns + round(minutes * NS_PER_MINUTE),
        command=command,
    )


def shelving_is_over(shelf: Alarm | None, now_unix_ns: int, longest_minutes: float) -> bool:
    """Return whether the time of a shelving has passed, or more is left of it than any may last.

    The latter is so where the clock was set back while the service was down; to ask again is the safe side.
    """
    if shelf is None or shelf.shelved_until_unix_ns is None or shelf.shelving_state is ShelvingState.UNSHELVED:
        return False
    return not 0 < shelf.shelved_until_unix_ns - now_unix_ns <= (longest_minutes + 1) * NS_PER_MINUTE


def moved(shelf: Alarm | None, step_ns: int) -> Alarm | None:
    """Return the transition by which a shelving lasts as long as was meant, although the clock was set; None: none."""
    if shelf is None or shelf.shelved_until_unix_ns is None or not step_ns:
        return None
    return replace(shelf, shelved_until_unix_ns=max(0, shelf.shelved_until_unix_ns + step_ns))
