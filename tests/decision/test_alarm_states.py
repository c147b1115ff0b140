"""The alarm's state machine: every state with every event, against what ISA-18.2 and OPC UA Part 9 say in words."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linewatch.contracts.alarm import ShelvingState
from linewatch.decision.alarms.states import AlarmStates, Event, Life, step

UNSHELVED, TIMED, ONCE = ShelvingState
ALL = [AlarmStates(*states) for states in product(Life, ShelvingState, (False, True))]
SHELVING = {Event.SHELVE_TIMED, Event.SHELVE_ONCE, Event.UNSHELVE, Event.TIME_LIMIT}
SUPPRESSION = {Event.SUPPRESS, Event.UNSUPPRESS}

# Rows: a life. Columns: what each event makes of it, in the order of `LIVES`. "" is the same.
LIVES = ("condition_true", "condition_false", "on_delay_over", "off_delay_over", "acknowledge", "coil_end")
WORDS = {
    # life              true       false              on         off        acknowledge      coil end
    "normal": ("rising", "", "", "", "", ""),
    "rising": ("", "normal", "unacked", "", "", "normal"),
    "unacked": ("", "unacked_falling", "", "", "acked", "normal"),
    "unacked_falling": ("unacked", "", "", "latched|normal", "acked_falling", "normal"),
    "latched": ("unacked", "", "", "", "normal", "normal"),
    "acked": ("", "acked_falling", "", "", "", "normal"),
    "acked_falling": ("acked", "", "", "normal", "", "normal"),
}


@pytest.mark.parametrize("latches", [False, True])
@pytest.mark.parametrize("event", Event)
def test_every_state_with_every_event(event, latches):
    for states in ALL:
        after = step(states, event, latches=latches)
        word = WORDS[states.life][LIVES.index(event)] if event in LIVES else ""
        if "|" in word:
            asked = not states.suppressed and states.shelving is UNSHELVED
            word = "latched" if latches and asked else "normal"
        assert after.life == (word or states.life), states

        over = states.active and not after.active
        shelving = {
            Event.SHELVE_TIMED: TIMED,
            Event.SHELVE_ONCE: ONCE,
            Event.UNSHELVE: UNSHELVED,
            Event.TIME_LIMIT: UNSHELVED,
            Event.BECAME_INACTIVE: UNSHELVED if states.shelving is ONCE else states.shelving,
        }.get(event, UNSHELVED if over and states.shelving is ONCE else states.shelving)
        assert after.shelving is shelving, states

        suppressed = {Event.SUPPRESS: True, Event.UNSUPPRESS: False}.get(event, states.suppressed)
        assert after.suppressed is suppressed, states


def test_the_machines_of_shelving_and_suppression_leave_the_life_alone():
    for states, event in product(ALL, SHELVING | SUPPRESSION):
        assert step(states, event, latches=True).life is states.life


def test_names_of_part_9():
    for states in ALL:
        assert states.active == (states.life.value.removesuffix("_falling") in {"unacked", "acked", "latched"})
        assert states.acked == ("unacked" not in states.life.value and states.life is not Life.LATCHED)
        assert states.asks == (states.active and not states.suppressed and states.shelving is UNSHELVED)


@given(st.lists(st.sampled_from(Event), max_size=60), st.booleans())
def test_whatever_happens(events, latches):
    """It becomes active by an on-delay only, unacknowledged; is over by an end; and an event twice is as once."""
    states = AlarmStates()
    for event in events:
        after = step(states, event, latches=latches)
        if after.active and not states.active:
            assert event is Event.ON_DELAY_OVER
            assert not after.acked
        if states.active and not after.active:
            assert event in {Event.OFF_DELAY_OVER, Event.COIL_END, Event.ACKNOWLEDGE}
            assert event is not Event.ACKNOWLEDGE or states.life is Life.LATCHED
        if after.acked and not states.acked:
            assert event is Event.ACKNOWLEDGE or not after.active
        if states.active and states.acked and after.active:
            assert after.acked, "an acknowledgement is for as long as the alarm is active"
        assert step(after, event, latches=latches) == after
        states = after
    ended = step(states, Event.COIL_END, latches=latches)
    assert ended.life is Life.NORMAL


@given(st.lists(st.sampled_from(Event), max_size=60))
def test_what_does_not_latch_is_never_latched(events):
    states = AlarmStates()
    for event in events:
        states = step(states, event, latches=False)
        assert states.life is not Life.LATCHED
