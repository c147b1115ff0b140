"""Decisions are pure: one verdict per frame, notices around every coil, equal input gives equal output."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_strip import CLASSES, RULES, events, notices, paint, predict, run, verdicts

from linewatch.config.decision import AlarmRule, DecisionSettings
from linewatch.config.line import LineSettings
from linewatch.contracts.across import AcrossMap
from linewatch.contracts.alarm import AlarmState
from linewatch.contracts.frame import Cause, StripEdges
from linewatch.contracts.manifest import EngineManifest, Task
from linewatch.contracts.verdict import CoilState, DefectState, Verdict
from linewatch.decision.decide import DecisionState, decide, finish
from linewatch.decision.rules import DecisionRules


@st.composite
def wild_predictions(draw):
    """Frames in strip order with anything in them that the contracts allow."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    predictions, line, coil = [], 0, 0
    for ordinal in range(draw(st.integers(1, 10))):
        if draw(st.integers(0, 4)) == 0:
            coil, line = coil + 1, 0
        lines, width = draw(st.integers(0, 24)), 40
        probability = rng.integers(0, 256, (lines, width), np.uint8)
        probability[rng.random((lines, width)) > draw(st.sampled_from([0.0, 0.1, 0.6, 1.0]))] = 0
        left = draw(st.integers(0, width))
        kind = draw(st.sampled_from(["plain", "plain", "degraded", "failed", "truncated", "lost"]))
        tiles = draw(st.integers(1, 4))
        predictions.append(
            predict(
                probability,
                first_line=line,
                ordinal=ordinal,
                coil=f"C{coil}",
                valid_lines={"truncated": lines // 2, "lost": 0}.get(kind, lines),
                fault=Cause.TRUNCATED if kind in ("truncated", "lost") else None,
                degraded=Cause.OVERLOAD if kind == "degraded" else None,
                failed=Cause.ENGINE if kind == "failed" else None,
                edges=StripEdges(left, draw(st.integers(left, width)), draw(st.booleans()), draw(st.booleans())),
                scores={i: tuple(rng.random(len(CLASSES))) for i in range(8)},
                tile_width=draw(st.sampled_from([12, 16, 40])),
                only=draw(st.sets(st.integers(0, tiles))),
                mm_per_px=0.5,
            )
        )
        line += lines
    return predictions


WILD_RULES = replace(
    RULES,
    merge_gap_mm=1.0,
    min_area_mm2=2.0,
    alarms=(AlarmRule(name="one", latch=False), AlarmRule(name="many", min_count=3, within_m=0.01)),
)


@given(wild_predictions())
def test_any_predictions_are_decided_and_every_millimetre_is_kept(predictions):
    decided = run(predictions, WILD_RULES)
    assert [v.ordinal for v in verdicts(decided)] == list(range(len(predictions)))
    open_ids, standing, passed_mm = set(), set(), 0.0
    for item in decided:
        for event in item.defects:
            assert (event.defect.id in open_ids) == (event.state is not DefectState.OPENED)
            (open_ids.discard if event.state is DefectState.CLOSED else open_ids.add)(event.defect.id)
            assert 0 <= event.defect.confidence <= 1
            assert 0 <= event.defect.peak <= 1
            assert event.defect.area_mm2 >= WILD_RULES.min_area_mm2
        for alarm in item.alarms:
            assert (alarm.id in standing) == (alarm.state is AlarmState.CLEARED)
            (standing.discard if alarm.state is AlarmState.CLEARED else standing.add)(alarm.id)
        if isinstance(item, Verdict):
            passed_mm += item.lines * 1.0
        elif item.state is CoilState.ENDED:
            assert item.inspected_mm + item.degraded_mm + item.missed_mm == pytest.approx(passed_mm)
            assert not open_ids
            assert not standing
        else:
            passed_mm = 0.0


@given(wild_predictions())
def test_equal_predictions_give_equal_decisions_to_the_byte(predictions):
    def told(decided):
        masks = [event.mask and event.mask.runs.tobytes() for event in events(decided)]
        return repr([replace(item, defects=()) for item in decided]), repr([e.defect for e in events(decided)]), masks

    assert told(run(predictions, WILD_RULES)) == told(run(predictions, WILD_RULES))


def test_deciding_changes_neither_the_state_nor_the_prediction():
    state = DecisionState.initial()
    first, second = (
        predict(paint(16, 40, (0, 16, 3, 5))),
        predict(paint(16, 40, (0, 8, 3, 5)), first_line=16, ordinal=1),
    )
    state, _ = decide(state, first, RULES)
    before = second.probability.copy()
    one, other = decide(state, second, RULES)[1], decide(state, second, RULES)[1]
    assert [e.defect for e in one[0].defects] == [e.defect for e in other[0].defects]
    assert np.array_equal(second.probability, before)


def test_a_coil_is_announced_before_its_first_verdict_and_summed_up_after_its_last():
    strip = paint(16, 40, (4, 16, 3, 5))
    decided = run(
        [predict(strip), predict(paint(16, 40), first_line=16, ordinal=1), predict(strip, coil="C2", ordinal=2)]
    )
    kinds = [item.state.value if not isinstance(item, Verdict) else item.ordinal for item in decided]
    assert kinds == ["started", 0, 1, "ended", "started", 2, "ended"]
    assert [n.coil for n in notices(decided)] == ["C1", "C1", "C2", "C2"]
    assert decided[3].along_mm == 32.0
    assert decided[3].inspected_mm == 32.0
    assert decided[3].defects_by_class == {"scratches": 1}
    assert decided[-1].defects[0].state is DefectState.CLOSED
    assert decided[-1].defects_by_class == {"scratches": 1}


def test_a_defect_that_merged_is_counted_once():
    u = paint(40, 40, (2, 36, 4, 6), (6, 36, 20, 22), (34, 36, 4, 22))
    parts = [predict(u[i : i + 10], first_line=i, ordinal=i // 10) for i in range(0, 40, 10)]
    assert notices(run(parts))[-1].defects_by_class == {"scratches": 1}


def test_a_frame_that_shows_nothing_has_a_verdict_all_the_same():
    lost = predict(paint(16, 40), valid_lines=0, fault=Cause.LOST)
    lost = replace(
        lost,
        edges=None,
        tiles=(),
        screen_scores=np.zeros(0, np.float32),
        passed=np.zeros(0, bool),
        class_scores=np.zeros((0, 3), np.float32),
        probability=np.zeros((0, 16, 16), np.uint8),
    )
    (verdict,) = verdicts(run([lost]))
    assert (verdict.strip_mm, verdict.tiles, verdict.tiles_passed, verdict.screen_peak) == (None, 0, 0, 0.0)
    assert verdict.spans[0].cause is Cause.LOST


def test_the_verdict_says_where_the_strip_is_and_what_the_screen_saw():
    columns = AcrossMap(-100.0, 0.5, 40)
    prediction = predict(paint(16, 40), edges=StripEdges(4, 36, True, True), tile_width=16, only=[1], columns=columns)
    (verdict,) = verdicts(run([prediction]))
    assert verdict.strip_mm == (-98.0, -82.0)
    assert (verdict.tiles, verdict.tiles_passed, verdict.screen_peak) == (3, 1, 0.5)
    assert verdict.along_mm == (0.0, 16.0)


def test_no_frames_are_no_coil():
    assert finish(DecisionState.initial()) == ()


def manifest(task, **kwargs):
    return EngineManifest.model_validate(
        {
            "name": task,
            "version": "1",
            "task": task,
            "model": {"sha256": "0" * 64},
            "input": {"lines": 256, "width": 256, "nominal_mm_per_px": 0.5},
            "output": "x",
            "precision": "fp32",
            "normalisation": "none",
            "training": {"recipe": "r", "encoder": "e", "seed": 0, "data": (), "split": "s"},
            "metrics": {},
            "terms": "t",
            **kwargs,
        }
    )


@pytest.mark.parametrize(
    ("manifest_says", "override", "threshold_u8"), [(0.5, None, 128), (0.2, None, 51), (0.5, 0.0, 1), (0.5, 1.0, 255)]
)
def test_rules_join_settings_with_the_engines_thresholds(manifest_says, override, threshold_u8):
    rules = DecisionRules.from_settings(
        DecisionSettings(defect_threshold=override, min_area_mm2=3.0),
        [AlarmRule(name="a", classes=("scratches",))],
        LineSettings(strip_taper=0.25),
        {
            Task.CLASSIFY: manifest("classify", classes=("scratches",), thresholds={"scratches": 0.3}),
            Task.SEGMENT: manifest("segment", thresholds={"defect": manifest_says}),
        },
        pseudo_classes=["water"],
    )
    assert rules.defect_threshold_u8 == threshold_u8
    assert rules.class_thresholds == {"scratches": 0.3}
    assert (rules.min_area_mm2, rules.strip_taper) == (3.0, 0.25)
