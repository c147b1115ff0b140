"""A coil that goes on over a kill is decided, and graded, as if the service had missed the strip meanwhile."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from known_strip import RULES, notices, paint, predict, run, verdicts

from linewatch.config.grading_file import grading_from
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.frame import Cause
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.restart import GapMeasure, StripGap
from linewatch.contracts.verdict import Decided, DefectState
from linewatch.decision.decide import DecisionState, RunningCoil, decide, finish
from linewatch.decision.grading.severity import GradingRules
from linewatch.decision.resume import PastFrame, UnfinishedCoil, resumed

LINES, WIDTH = 16, 64
TAXONOMY = Taxonomy.model_validate(
    {
        "classes": {
            "scratches": {"meaning": "m", "severity": "minor"},
            "inclusion": {"meaning": "m", "severity": "major"},
            "water": {"meaning": "m", "severity": "minor", "pseudo": True},
        },
        "sets": {},
    }
)


def unfinished(state: DecisionState, told: list[Decided]) -> UnfinishedCoil:
    """Return what a journal holds of these decisions, which end within a coil."""
    coil = state.coil
    assert isinstance(coil, RunningCoil)
    opened: dict = {}
    frames = []
    for verdict in verdicts(told):
        closed = []
        for event in verdict.defects:
            opened.pop(event.defect.id, None)
            if event.state is not DefectState.CLOSED:
                opened[event.defect.id] = event.defect
            elif event.merged_into is None:
                closed.append(event.defect)
        periodic = tuple(name for mark in verdict.roll_marks for name in mark.defect_ids)
        frames.append(PastFrame(verdict.spans, verdict.along_mm, verdict.strip_mm, tuple(closed), periodic))
    return UnfinishedCoil(
        coil=coil.coil,
        side=coil.side,
        camera=coil.camera,
        source_coil="",
        head_line=0,
        next_line=coil.next_line,
        mm_per_line=1.0,
        mm_per_px=1.0,
        captured_ns=0,
        conditions=coil.conditions,
        config="",
        frames=frames,
        open_defects=tuple(opened.values()),
    )


def graded() -> GradingRules:
    tree = {
        "name": "test",
        "product": "p",
        "grades": ["A", "B"],
        "limit": [{"name": "few", "grade": "B", "more_than": 1}],
    }
    return GradingRules.of(grading_from(tree, "test.toml", TAXONOMY), TAXONOMY)


@st.composite
def strips(draw: st.DrawFn) -> tuple[list[Prediction], int, int]:
    """A strip as frames, the number of frames before the kill, and of those that pass meanwhile."""
    frames = draw(st.integers(4, 12))
    spots = draw(
        st.lists(
            st.tuples(st.integers(0, frames * LINES - 2), st.integers(0, WIDTH - 8), st.integers(2, 40)), max_size=6
        )
    )
    strip = paint(frames * LINES, WIDTH, *[(at, min(at + long, frames * LINES), x, x + 6) for at, x, long in spots])
    predictions = [predict(strip[n * LINES : (n + 1) * LINES], first_line=n * LINES, ordinal=n) for n in range(frames)]
    killed = draw(st.integers(1, frames - 2))
    return predictions, killed, draw(st.integers(1, frames - killed - 1))


@settings(max_examples=60, deadline=None)
@given(strips())
def test_a_resumed_coil_is_decided_as_one_that_missed_the_strip_meanwhile(strip: tuple) -> None:
    predictions, killed, missed = strip
    rules = replace(RULES, grading=graded())
    first = predictions[killed]
    gap = StripGap(1.0, missed * LINES, missed * LINES, GapMeasure.ENCODER)
    unseen = predict(
        np.zeros((0, WIDTH), np.uint8), first_line=first.frame.first_line, lines=missed * LINES, fault=Cause.RESTART
    )
    lost = replace(unseen, frame=replace(unseen.frame, ordinal=killed, gap=gap))
    after = [lost, *predictions[killed + missed :]]

    state, before = DecisionState.initial(), []
    for prediction in predictions[:killed]:
        state, told = decide(state, prediction, rules)
        before += told
    there = [*before]
    for prediction in after:
        state_now, told = decide(state, prediction, rules)
        state, there = state_now, [*there, *told]
    (_, ended) = notices([*there, *finish(state)])

    state = DecisionState.initial()
    for prediction in predictions[:killed]:
        state, _ = decide(state, prediction, rules)
    again = resumed(unfinished(state, before), (), (), rules)
    (resumed_end,) = notices(run(after, rules, again))
    assert resumed_end.defects_by_class == ended.defects_by_class
    assert resumed_end.missed_lines_by_cause == ended.missed_lines_by_cause == {"restart": missed * LINES}
    assert resumed_end.inspected_mm == ended.inspected_mm
    assert resumed_end.area == ended.area
    assert resumed_end.uninspected_mm2_by_cause == ended.uninspected_mm2_by_cause
    assert resumed_end.grade == ended.grade
    assert resumed_end.grade is not None
    assert "restarted at" in resumed_end.grade.text
    assert [note for note in resumed_end.conditions.notes if note.startswith("restarted at")]


def test_a_coil_that_is_over_is_ended_and_another_one_of_its_name_begins() -> None:
    strip = [predict(np.zeros((LINES, WIDTH), np.uint8), first_line=n * LINES, ordinal=n) for n in range(3)]
    state, told = decide(DecisionState.initial(), strip[0], RULES)
    again = resumed(unfinished(state, list(told)), (), (), RULES)
    gap = StripGap(9_000.0, 0, 0.0, GapMeasure.UNKNOWN, goes_on=False)
    anew = replace(strip[0], frame=replace(strip[0].frame, gap=gap))
    _, decided = decide(again, anew, RULES)
    ended, started = notices(decided)
    assert (ended.state.value, started.state.value) == ("ended", "started")
    assert ended.inspected_mm == LINES
    assert "the coil of before counts as over" in " ".join(
        verdict.gap.text for verdict in verdicts(decided) if verdict.gap is not None
    )
