"""An alarm asks for an operator once per run of defects, in time, and never cries twice."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_strip import RULES, alarms, cut_strip, instances, notices, paint, predict, run, verdicts

from linewatch.config.decision import AlarmRule
from linewatch.contracts.alarm import AlarmState
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.verdict import CoilState
from linewatch.decision.decide import DecisionState

RAISED, CLEARED = AlarmState.RAISED, AlarmState.CLEARED
LINES = 16


def with_alarms(*rules, **changes):
    return replace(RULES, alarms=rules, **changes)


def long_strip(frames, *rectangles):
    return paint(LINES * frames, 32, *rectangles)


def transitions(decided):
    """(state, ordinal of the frame or 'started' / 'ended') of every transition."""
    return [
        (alarm.state, getattr(item, "ordinal", None) if not hasattr(item, "state") else item.state.value)
        for item in decided
        for alarm in item.alarms
    ]


def decide_strip(rules, strip, **kwargs):
    return run(cut_strip(strip, [LINES] * 100, **kwargs), rules)


def test_an_alarm_is_raised_while_its_defect_is_still_open():
    rule = AlarmRule(name="long", min_length_mm=40.0)
    decided = decide_strip(with_alarms(rule), long_strip(10, (4, 150, 3, 5)))
    assert transitions(decided) == [(RAISED, 2), (CLEARED, "ended")]
    raised = alarms(decided)[0]
    assert raised.id == "long/C1/top/cam1/32"
    assert raised.defect_ids == ("C1/top/cam1/4.3",)
    assert raised.along_mm == 4.0
    assert raised.text == "long: scratches, 44 mm long, 2 mm wide at 0.004 m"


def test_a_scratch_over_many_frames_and_tiles_is_one_alarm():
    rule = AlarmRule(name="any")
    strip = long_strip(12, (0, 190, 2, 30))
    assert transitions(decide_strip(with_alarms(rule), strip, tile_width=16)) == [(RAISED, 0), (CLEARED, "ended")]


def test_a_latched_alarm_stands_until_the_coil_ends():
    rule = AlarmRule(name="any", latch=True)
    strip = long_strip(20, (4, 8, 3, 5), (100, 104, 3, 5), (200, 204, 3, 5))
    assert transitions(decide_strip(with_alarms(rule), strip)) == [(RAISED, 0), (CLEARED, "ended")]


def test_an_unlatched_alarm_clears_in_the_first_frame_without_the_defect():
    rule = AlarmRule(name="any", latch=False)
    strip = long_strip(12, (4, 8, 3, 5), (20, 24, 3, 5), (40, 44, 3, 5), (100, 104, 3, 5))
    decided = decide_strip(with_alarms(rule), strip)
    assert transitions(decided) == [(RAISED, 0), (CLEARED, 3), (RAISED, 6), (CLEARED, 7)]
    ids = [alarm.id for alarm in alarms(decided)]
    assert ids[0] == ids[1] != ids[2] == ids[3]


@pytest.mark.parametrize(
    ("rule", "raised"),
    [
        ({"min_area_mm2": 8.0}, True),
        ({"min_area_mm2": 8.1}, False),
        ({"min_length_mm": 4.0}, True),
        ({"min_length_mm": 4.1}, False),
        ({"min_confidence": 0.39}, True),
        ({"min_confidence": 0.41}, False),
        ({"min_probability": 0.78}, True),
        ({"min_probability": 0.79}, False),
        ({"classes": ("scratches",)}, True),
        ({"classes": ("inclusion",)}, False),
        ({"min_count": 2}, False),
    ],
)
def test_a_rule_asks_for_class_size_and_confidence(rule, raised):
    decided = decide_strip(with_alarms(AlarmRule(name="r", **rule)), long_strip(2, (4, 8, 3, 5)))
    assert bool(alarms(decided)) == raised


def test_a_pseudo_defect_is_reported_and_never_alarms():
    decided = decide_strip(with_alarms(AlarmRule(name="any")), long_strip(1, (4, 8, 3, 5)), scores=(0.1, 0.1, 0.9))
    assert [d.defect_class for d in instances(decided)] == ["water"]
    assert alarms(decided) == []


@pytest.mark.parametrize(("distance_mm", "raised"), [(100, True), (101, False)])
@pytest.mark.parametrize("offset", range(0, 32, 5))
def test_a_count_is_within_metres_of_strip_however_frames_are_cut(distance_mm, raised, offset):
    rule = AlarmRule(name="many", min_count=3, within_m=0.1)
    third = 2 + distance_mm
    strip = long_strip(12, *((offset + at, offset + at + 2, 3, 5) for at in (0, 40, third)))
    decided = decide_strip(with_alarms(rule), strip)
    assert bool(alarms(decided)) == raised
    if raised:
        first = alarms(decided)[0]
        assert first.along_mm == offset
        assert len(first.defect_ids) == 3
        assert first.text == f"many: 3 defects within 0.1 m at {offset / 1000:.3f} m"


def test_an_unlatched_count_clears_when_its_defects_lie_behind():
    rule = AlarmRule(name="many", min_count=2, within_m=0.05, latch=False)
    decided = decide_strip(with_alarms(rule), long_strip(12, (4, 6, 3, 5), (20, 22, 3, 5)))
    assert transitions(decided) == [(RAISED, 1), (CLEARED, 4)]


def test_two_ends_of_one_u_do_not_count_as_two_once_they_are_one():
    rule = AlarmRule(name="many", min_count=3, within_m=1.0)
    u = long_strip(4, (2, 40, 4, 6), (2, 40, 20, 22), (36, 40, 4, 22), (60, 62, 4, 6))
    assert alarms(decide_strip(with_alarms(rule), u)) == []


def test_an_alarm_that_stood_before_a_crash_is_not_raised_again():
    rules = with_alarms(AlarmRule(name="any"))
    strip = long_strip(4, (4, 60, 3, 5))
    standing = [a for a in alarms(run(cut_strip(strip, [LINES]), rules)) if a.state is RAISED]
    rest = [predict(strip[32:48], first_line=32, ordinal=0), predict(strip[48:64], first_line=48, ordinal=1)]
    decided = run(rest, rules, DecisionState.initial(standing))
    assert transitions(decided) == [(CLEARED, "ended")]
    assert [a.id for a in alarms(decided)] == [a.id for a in standing]


def test_an_alarm_of_a_coil_that_ended_unseen_is_cleared_when_the_next_one_starts():
    rules = with_alarms(AlarmRule(name="any"), AlarmRule(name="other"))
    strip = long_strip(1, (4, 8, 3, 5))
    standing = [a for a in alarms(run(cut_strip(strip, []), rules)) if a.state is RAISED]
    decided = run([predict(strip, coil="C2")], rules, DecisionState.initial(standing))
    assert transitions(decided)[:2] == [(CLEARED, "started"), (CLEARED, "started")]
    assert [(a.state, a.coil) for a in alarms(decided)].count((RAISED, "C2")) == 2


def test_an_alarm_whose_rule_is_gone_is_cleared_at_the_start():
    strip = long_strip(1, (4, 8, 3, 5))
    standing = [a for a in alarms(run(cut_strip(strip, []), with_alarms(AlarmRule(name="old")))) if a.state is RAISED]
    decided = run([predict(strip)], with_alarms(), DecisionState.initial(standing))
    assert transitions(decided) == [(CLEARED, "started")]


def test_a_flood_makes_one_transition_per_rule_and_frame_and_remembers_little():
    specks = np.zeros((LINES * 20, 64), np.uint8)
    specks[::4, ::4] = 255
    rules = with_alarms(
        AlarmRule(name="one", latch=False), AlarmRule(name="many", min_count=5, within_m=1000.0, latch=False)
    )
    decided = decide_strip(rules, specks)
    assert all(len({a.rule for a in v.alarms}) == len(v.alarms) for v in verdicts(decided))
    assert transitions(decided) == [(RAISED, 0), (RAISED, 0), (CLEARED, "ended"), (CLEARED, "ended")]

    from linewatch.decision.decide import decide

    state = DecisionState.initial()
    for prediction in cut_strip(specks, [LINES] * 20):
        state, (*_, verdict) = decide(state, prediction, rules)
    opened = sum(event.state.value == "opened" for event in verdict.defects)
    assert [len(rule_alarm.candidates) <= 5 + opened for rule_alarm in state.alarms.rule_alarms] == [True, True]


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.integers(0, 150), st.integers(1, 20), st.integers(0, 28)), max_size=8),
    st.integers(1, 4),
    st.booleans(),
)
def test_transitions_of_a_rule_alternate_and_nothing_stands_after_the_coil(places, count, latch):
    rule = AlarmRule(name="r", min_count=count, within_m=0.03, latch=latch)
    strip = long_strip(11, *((line, line + length, left, left + 2) for line, length, left in places))
    decided = decide_strip(with_alarms(rule), strip)
    states = [alarm.state for alarm in alarms(decided)]
    assert states == [RAISED, CLEARED] * (len(states) // 2)
    assert len(alarms(decided)) <= 2 or not latch
    assert notices(decided)[-1].state is CoilState.ENDED


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ((AlarmRule(name="a", classes=("scratch",)),), "'scratch' is unknown.*inclusion, scratches"),
        ((AlarmRule(name="a", classes=("water",)),), "'water' is a pseudo-defect"),
        ((AlarmRule(name="a"), AlarmRule(name="a")), "two .* named 'a'"),
    ],
)
def test_a_rule_that_could_never_be_raised_is_refused_with_the_remedy(rules, message):
    with pytest.raises(ConfigError, match=message):
        with_alarms(*rules)
