"""The state machine of an alarm as tables: the life cycle of ISA-18.2, with the state names of OPC UA Part 9.

Three machines run side by side, as in Part 9: life, shelving and suppression. An event that a table does not list for a
state leaves that state unchanged.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from linewatch.contracts.alarm import ShelvingState


class Life(StrEnum):
    """ActiveState, AckedState and LatchedState, with the delays between them.

    RISING: the condition is true and the on-delay is running. *_FALLING: it is false again and the off-delay is
    running. LATCHED: the off-delay is over, and the alarm stays active until it is acknowledged.
    """

    NORMAL = "normal"
    RISING = "rising"
    UNACKED = "unacked"
    UNACKED_FALLING = "unacked_falling"
    LATCHED = "latched"
    ACKED = "acked"
    ACKED_FALLING = "acked_falling"


class Event(StrEnum):
    """What can happen to an alarm."""

    CONDITION_TRUE = "condition_true"
    CONDITION_FALSE = "condition_false"
    ON_DELAY_OVER = "on_delay_over"
    OFF_DELAY_OVER = "off_delay_over"
    ACKNOWLEDGE = "acknowledge"
    COIL_END = "coil_end"
    SHELVE_TIMED = "shelve_timed"
    SHELVE_ONCE = "shelve_once"
    UNSHELVE = "unshelve"
    TIME_LIMIT = "time_limit"  # of the shelving
    BECAME_INACTIVE = "became_inactive"  # raised by `step` itself
    SUPPRESS = "suppress"
    UNSUPPRESS = "unsuppress"


_LIFE: dict[Life, dict[Event, Life]] = {
    Life.NORMAL: {
        Event.CONDITION_TRUE: Life.RISING,
    },
    Life.RISING: {
        Event.CONDITION_FALSE: Life.NORMAL,
        Event.ON_DELAY_OVER: Life.UNACKED,
        Event.COIL_END: Life.NORMAL,
    },
    Life.UNACKED: {
        Event.CONDITION_FALSE: Life.UNACKED_FALLING,
        Event.ACKNOWLEDGE: Life.ACKED,
        Event.COIL_END: Life.NORMAL,
    },
    Life.UNACKED_FALLING: {
        Event.CONDITION_TRUE: Life.UNACKED,
        Event.OFF_DELAY_OVER: Life.LATCHED,  # NORMAL for what does not latch
        Event.ACKNOWLEDGE: Life.ACKED_FALLING,
        Event.COIL_END: Life.NORMAL,
    },
    Life.LATCHED: {
        Event.CONDITION_TRUE: Life.UNACKED,
        Event.ACKNOWLEDGE: Life.NORMAL,
        Event.COIL_END: Life.NORMAL,
    },
    Life.ACKED: {
        Event.CONDITION_FALSE: Life.ACKED_FALLING,
        Event.COIL_END: Life.NORMAL,
    },
    Life.ACKED_FALLING: {
        Event.CONDITION_TRUE: Life.ACKED,
        Event.OFF_DELAY_OVER: Life.NORMAL,
        Event.COIL_END: Life.NORMAL,
    },
}

_TIMED, _ONCE, _OPEN = ShelvingState.TIMED_SHELVED, ShelvingState.ONE_SHOT_SHELVED, ShelvingState.UNSHELVED
_SHELVING: dict[ShelvingState, dict[Event, ShelvingState]] = {
    _OPEN: {Event.SHELVE_TIMED: _TIMED, Event.SHELVE_ONCE: _ONCE},
    _TIMED: {Event.SHELVE_ONCE: _ONCE, Event.UNSHELVE: _OPEN, Event.TIME_LIMIT: _OPEN},
    _ONCE: {
        Event.SHELVE_TIMED: _TIMED,
        Event.UNSHELVE: _OPEN,
        Event.TIME_LIMIT: _OPEN,
        Event.BECAME_INACTIVE: _OPEN,
    },
}

_SUPPRESSED = {Event.SUPPRESS: True, Event.UNSUPPRESS: False}


@dataclass(frozen=True, slots=True)
class AlarmStates:
    """The state of one alarm in all three machines."""

    life: Life = Life.NORMAL
    shelving: ShelvingState = ShelvingState.UNSHELVED
    suppressed: bool = False

    @property
    def active(self) -> bool:
        """ActiveState."""
        return self.life not in (Life.NORMAL, Life.RISING)

    @property
    def acked(self) -> bool:
        """AckedState. Part 9: an alarm that has nothing to acknowledge is acknowledged."""
        return self.life not in (Life.UNACKED, Life.UNACKED_FALLING, Life.LATCHED)

    @property
    def delayed(self) -> bool:
        """An on-delay or off-delay is running."""
        return self.life in (Life.RISING, Life.UNACKED_FALLING, Life.ACKED_FALLING)

    @property
    def suppressed_or_shelved(self) -> bool:
        """SuppressedOrShelved of Part 9: no operator is to be asked."""
        return self.suppressed or self.shelving is not ShelvingState.UNSHELVED

    @property
    def asks(self) -> bool:
        """Whether the alarm asks for an operator's action."""
        return self.active and not self.suppressed_or_shelved


def step(states: AlarmStates, event: Event, *, latches: bool) -> AlarmStates:
    """Return the states after `event`. An alarm whose condition ends while suppressed or shelved does not latch."""
    life = _LIFE[states.life].get(event, states.life)
    if life is Life.LATCHED and states.life is not Life.LATCHED and (not latches or states.suppressed_or_shelved):
        life = Life.NORMAL
    suppressed = _SUPPRESSED.get(event, states.suppressed)
    shelving = _SHELVING[states.shelving].get(event, states.shelving)
    if life is states.life and suppressed is states.suppressed and shelving is states.shelving:
        return states
    after = AlarmStates(life, shelving, suppressed)
    if states.active and not after.active:
        after = replace(after, shelving=_SHELVING[shelving].get(Event.BECAME_INACTIVE, shelving))
    return after
