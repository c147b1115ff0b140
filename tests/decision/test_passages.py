"""A coil by its data: excluded ends, data that come while it runs, a name that comes again."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_strip import RULES, cut_strip, notices, paint, run, verdicts
from test_grading import COIL_MM, defect, rules

from linewatch.config.decision import AlarmRule
from linewatch.contracts.alarm import AlarmState
from linewatch.contracts.coil import CoilConditions, CoilData
from linewatch.contracts.verdict import CoilState, CoverageSpan, DefectState, Quality
from linewatch.decision.decide import AGAIN, GRADED_AS_BEGUN, GRADED_LATE, DecisionState, decide, finish
from linewatch.decision.grading import grade as grading
from linewatch.decision.grading.grade import GradingState, finish_grading, grade_coil, observe, regraded

LINES = 16
LENGTH = 20 * LINES
ANY = AlarmRule(name="any", latch=False)
ZERO = {"more_than": 0}

spots = st.lists(st.integers(0, LENGTH - 4), max_size=12)


def strip(places) -> np.ndarray:
    """Spots of 3 lines; `paint` takes (top, bottom, left, right)."""
    return paint(LENGTH, 32, *((at, at + 3, 3 + 8 * (n % 3), 6 + 8 * (n % 3)) for n, at in enumerate(places)))


def by(conditions: CoilConditions):
    graded = rules(ZERO).excluding(conditions.head_mm, conditions.tail_mm)
    return replace(RULES, alarms=(ANY,), grading=graded, conditions=conditions)


@pytest.mark.slow
@settings(max_examples=60)
@given(spots, st.integers(0, 100), st.integers(0, 100), st.booleans())
def test_what_lies_in_an_excluded_end_neither_grades_nor_alarms_and_is_marked(places, head, tail, length_known):
    """The tail is known to alarms where Level 2 told the length; the grade knows it in any case."""
    data = CoilData("C1", length_mm=float(LENGTH) if length_known else None, product="p")
    decided = run(cut_strip(strip(places), [LINES] * 19), by(CoilConditions(data, "r", float(head), float(tail))))
    end = notices(decided)[-1]
    closed = [
        event.defect
        for item in decided
        for event in item.defects
        if event.state is DefectState.CLOSED and event.merged_into is None
    ]

    def outside(one, tail_mm):
        begin, end_mm = one.box.along_mm
        return end_mm > head and (not tail_mm or begin < LENGTH - tail_mm)

    for one in closed:
        if length_known or one.box.along_mm[0] < LENGTH - tail or not tail:
            assert one.excluded == (not outside(one, tail if length_known else 0))
    assert sum(end.grade.defects_by_severity.values()) == sum(outside(one, tail) for one in closed)
    alarmed = {name for item in verdicts(decided) for alarm in item.alarms for name in alarm.defect_ids}
    allowed = {one.id for one in closed if outside(one, tail if length_known else 0)}
    allowed |= {event.defect.id for item in decided for event in item.defects if event.merged_into in allowed}
    assert alarmed <= allowed
    assert end.inspected_mm == LENGTH, "coverage is told as it is"
    assert (end.conditions.head_mm, end.conditions.tail_mm) == (head, tail)


def test_between_two_coils_nothing_asks_for_an_operator():
    decided = run(cut_strip(strip([40, 100]), [LINES] * 19), by(CoilConditions(between=True)))
    states = {alarm.state for item in verdicts(decided) for alarm in item.alarms}
    assert states == {AlarmState.CLEARED}
    assert all(notice.conditions.between for notice in notices(decided))


def test_data_that_come_while_the_coil_runs_hold_for_all_of_its_grade():
    frames = cut_strip(strip([20, 40, 200]), [LINES] * 19)
    late = CoilData("C1", product="p")
    lenient = replace(RULES, grading=rules({"more_than": 100}))
    strict = replace(RULES, grading=rules({"more_than": 2}), conditions=CoilConditions(late, "strict"))
    state, decided = DecisionState.initial(), []
    for number, frame in enumerate(frames):
        state, more = decide(state, frame, strict if number >= 10 else lenient)
        decided += more
    decided += finish(state)
    told = [(item.ordinal, item.coil_data) for item in verdicts(decided) if item.coil_data]
    assert told == [(10, late)]
    start, end = notices(decided)
    assert (start.conditions.data, end.conditions.data, end.conditions.recipe) == (None, late, "strict")
    assert end.grade.grade == "C", "the two defects before count"
    assert end.grade.rules == strict.grading.identity


def test_rules_that_come_late_grade_what_they_saw_and_say_so():
    frames = cut_strip(strip([20]), [LINES] * 19)
    graded = replace(RULES, grading=rules(ZERO), conditions=CoilConditions(CoilData("C1", product="p"), "late"))
    state, decided = DecisionState.initial(), []
    for number, frame in enumerate(frames):
        state, more = decide(state, frame, graded if number >= 10 else RULES)
        decided += more
    end = finish(state)[0]
    assert end.grade.inspected_share == 0.5
    assert GRADED_LATE in end.conditions.notes
    assert GRADED_LATE in end.grade.text


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, COIL_MM - 50), st.floats(1, 40)), max_size=30),
    st.integers(0, 30),
    st.integers(0, 30_000),
    st.integers(0, 30_000),
)
def test_graded_by_other_rules_from_the_middle_is_graded_by_them_from_the_head(found, at, head, tail):
    """Whatever ends the first rules left out."""
    first = rules({"more_than": 1, "within_m": 1.0}, head_excluded_m=20.0, tail_excluded_m=20.0)
    then = rules(
        {"affected_over_mm": 30.0},
        {"more_than": 3, "grade": "B"},
        {"inspected_below_share": 0.99, "grade": "D"},
        severity=({"min_length_mm": 20.0, "severity": 5},),
    ).excluding(float(head), float(tail))
    defects = [defect(str(n), begin, length) for n, (begin, length) in enumerate(sorted(found))]
    spans = [_span((0.0, 40_000.0)), _span((50_000.0, COIL_MM))]
    state = observe(GradingState.begin(first), defects[:at], spans[:1], 40_000.0)
    state = regraded(state, then)
    assert state is not None
    state = observe(state, defects[at:], spans[1:], COIL_MM)
    assert finish_grading(state) == grade_coil(then, defects, spans, COIL_MM)


def _span(along_mm):
    return CoverageSpan(0, 1, along_mm, Quality.INSPECTED, None)


def test_where_too_much_is_in_sums_the_first_rules_stay_and_it_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(grading, "KEPT", 1)
    monkeypatch.setattr(grading, "_PENDING", 1)
    frames = cut_strip(strip([20, 40, 60, 80]), [LINES] * 19)
    first, then = replace(RULES, grading=rules(ZERO)), rules({"more_than": 50})
    later = replace(RULES, grading=then, conditions=CoilConditions(CoilData("C1", product="p"), "r"))
    state = DecisionState.initial()
    for number, frame in enumerate(frames):
        state, _ = decide(state, frame, later if number >= 10 else first)
    end = finish(state)[0]
    assert end.grade.rules == first.grading.identity
    assert GRADED_AS_BEGUN in end.grade.text


def test_a_coil_whose_name_comes_again_says_so():
    empty = strip([])
    decided = run(
        [frame for coil in ("A", "B", "A") for frame in cut_strip(empty, [LINES] * 19, coil=coil)],
        replace(RULES, grading=rules(ZERO)),
    )
    starts = [notice for notice in notices(decided) if notice.state is CoilState.STARTED]
    assert [(notice.coil, AGAIN in notice.conditions.notes) for notice in starts] == [
        ("A", False),
        ("B", False),
        ("A", True),
    ]
    assert AGAIN in notices(decided)[-1].grade.text
