"""Every line that passed is in exactly one span, and the coil's sums are its length."""

from dataclasses import replace
from itertools import pairwise
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_strip import RULES, notices, paint, predict, run, verdicts

from linewatch.contracts.coil import CoilConditions, CoilData
from linewatch.contracts.frame import Cause, StripEdges, extent
from linewatch.contracts.verdict import CoilState, Quality, StripArea
from linewatch.decision.coverage import JUDGED_SHARE, spans_of

CAUSES = st.sampled_from(list(Cause))


@st.composite
def faulty_frames(draw):
    predictions, line = [], 0
    for ordinal in range(draw(st.integers(1, 12))):
        lines = draw(st.integers(0, 30))
        valid = draw(st.sampled_from([0, lines // 2, lines]))
        fault = draw(CAUSES) if valid < lines else None
        trouble = draw(st.sampled_from(["none", "degraded", "failed"]))
        predictions.append(
            predict(
                paint(lines, 16, (0, lines, 3, 5)),
                first_line=line,
                ordinal=ordinal,
                valid_lines=valid,
                fault=fault,
                degraded=draw(CAUSES) if trouble == "degraded" else None,
                failed=draw(CAUSES) if trouble == "failed" else None,
                mm_per_line=0.8,
            )
        )
        line += lines
    return predictions


@pytest.mark.slow
@given(faulty_frames())
def test_spans_tile_the_coil_and_the_sums_are_its_length(predictions):
    decided = run(predictions)
    line, missed = 0, {}
    for verdict in verdicts(decided):
        assert verdict.first_line == line
        for span in verdict.spans:
            assert span.first_line == line
            assert span.lines > 0
            assert span.along_mm == pytest.approx((0.8 * line, 0.8 * (line + span.lines)))
            assert (span.cause is None) == (span.quality is Quality.INSPECTED)
            line += span.lines
            if span.quality is Quality.MISSED:
                missed[span.cause.value] = missed.get(span.cause.value, 0) + span.lines
        assert line == verdict.first_line + verdict.lines
    end = notices(decided)[-1]
    assert end.state is CoilState.ENDED
    assert end.missed_lines_by_cause == missed
    assert end.missed_mm == pytest.approx(0.8 * sum(missed.values()))
    assert end.inspected_mm + end.degraded_mm + end.missed_mm == pytest.approx(0.8 * line)


@st.composite
def coils_of_faulty_frames(draw):
    """Coils one after another, the frame at each border divided anywhere, some strip spoilt and some defective."""
    predictions, truth = [], {}
    for number in range(draw(st.integers(1, 5))):
        coil, line = f"C{number}", 0
        for _ in range(draw(st.integers(1, 6))):
            lines = draw(st.integers(1, 30))
            valid = draw(st.sampled_from([0, lines // 2, lines, lines]))
            predictions.append(
                predict(
                    paint(lines, 16, (0, lines, 3, 5)),  # a scratch from end to end, over every border
                    coil=coil,
                    first_line=line,
                    ordinal=len(predictions),
                    valid_lines=valid,
                    fault=draw(CAUSES) if valid < lines else None,
                    degraded=Cause.OVERLOAD if draw(st.booleans()) and draw(st.booleans()) else None,
                    mm_per_line=0.8,
                )
            )
            line += lines
        truth[coil] = line
    return predictions, truth


@pytest.mark.slow
@given(coils_of_faulty_frames())
def test_each_coil_accounts_for_its_own_lines_and_no_defect_crosses(drawn):
    """Per coil and in sum: the spans are the lines that passed, from 0 on, and what was found lies between its ends."""
    predictions, truth = drawn
    decided = run(predictions)
    covered = dict.fromkeys(truth, 0)
    for verdict in verdicts(decided):
        for span in verdict.spans:
            assert span.first_line == covered[verdict.coil]
            covered[verdict.coil] += span.lines
    assert covered == truth
    ended = [notice for notice in notices(decided) if notice.state is CoilState.ENDED]
    assert [notice.coil for notice in ended] == list(truth)
    for notice in ended:
        length_mm = pytest.approx(0.8 * truth[notice.coil])
        assert notice.along_mm == length_mm
        assert notice.inspected_mm + notice.degraded_mm + notice.missed_mm == length_mm
    for item in decided:
        for event in item.defects:
            assert event.defect.coil == item.coil
            assert 0 <= event.defect.box.along_mm[0] < event.defect.box.along_mm[1] <= 0.8 * truth[item.coil] + 1e-6


def spans(**kwargs):
    return [
        (s.first_line, s.lines, s.quality, s.cause) for s in spans_of(predict(paint(10, 16), first_line=100, **kwargs))
    ]


def test_a_whole_frame_is_inspected():
    assert spans() == [(100, 10, Quality.INSPECTED, None)]


def test_a_truncated_frame_is_missed_from_its_last_valid_line():
    assert spans(valid_lines=7, fault=Cause.TRUNCATED) == [
        (100, 7, Quality.INSPECTED, None),
        (107, 3, Quality.MISSED, Cause.TRUNCATED),
    ]


def test_lost_lines_are_one_missed_span():
    assert spans(valid_lines=0, fault=Cause.LOST) == [(100, 10, Quality.MISSED, Cause.LOST)]


def test_a_screened_frame_is_degraded_and_says_why():
    assert spans(degraded=Cause.OVERLOAD) == [(100, 10, Quality.DEGRADED, Cause.OVERLOAD)]


def test_a_failed_frame_is_missed_for_the_engine_and_the_rest_for_its_own_fault():
    assert spans(failed=Cause.ENGINE, valid_lines=4, fault=Cause.TRUNCATED) == [
        (100, 4, Quality.MISSED, Cause.ENGINE),
        (104, 6, Quality.MISSED, Cause.TRUNCATED),
    ]
    assert spans(failed=Cause.ENGINE, valid_lines=4, fault=Cause.ENGINE) == [(100, 10, Quality.MISSED, Cause.ENGINE)]


def seen(left: int, right: int, dark_px: int = 0, bright_px: int = 0) -> StripEdges:
    """Strip whose first columns are too dark, and the next ones blown out."""
    bounds = left, left + dark_px, left + dark_px + bright_px
    dark, bright = (((start, stop),) if start < stop else () for start, stop in pairwise(bounds))
    return StripEdges(left, right, left > 0, right < 16, dark, bright)


def test_a_frame_without_strip_is_missed():
    assert spans(edges=seen(0, 0)) == [(100, 10, Quality.MISSED, Cause.NO_STRIP)]


@pytest.mark.parametrize(
    ("unreadable", "quality", "cause"),
    [
        ({"dark_px": 16}, Quality.MISSED, Cause.DARK),
        ({"dark_px": 4}, Quality.DEGRADED, Cause.DARK),
        ({"bright_px": 16}, Quality.MISSED, Cause.BRIGHT),
        ({"bright_px": 4, "dark_px": 3}, Quality.DEGRADED, Cause.BRIGHT),
    ],
)
def test_strip_that_cannot_be_judged_is_not_inspected(unreadable, quality, cause):
    assert spans(edges=seen(0, 16, **unreadable)) == [(100, 10, quality, cause)]


def looked(edges: list[StripEdges], rules=RULES, data: CoilData | None = None) -> list[tuple[Quality, Cause | None]]:
    """How each frame of one coil with these edges was looked at."""
    rules = replace(rules, conditions=CoilConditions(data=data))
    frames = [predict(paint(10, 16), first_line=10 * i, ordinal=i, edges=one) for i, one in enumerate(edges)]
    return [(span.quality, span.cause) for verdict in verdicts(run(frames, rules)) for span in verdict.spans]


INSPECTED = (Quality.INSPECTED, None)


def test_strip_that_turns_narrow_is_not_inspected_however_long_it_lasts():
    """Half of the lamp is dead: the strip looks half as wide, and one cannot say that its other half has no defect."""
    assert looked([seen(0, 16)] * 3 + [seen(0, 8)] * 40) == [INSPECTED] * 3 + [(Quality.DEGRADED, Cause.NARROW)] * 40
    assert looked([seen(0, 16)] * 2 + [seen(0, 8)] * 40) == [INSPECTED] * 2 + [(Quality.DEGRADED, Cause.NARROW)] * 40
    assert looked([seen(0, 16)] * 3 + [seen(0, 6)]) == [INSPECTED] * 3 + [(Quality.MISSED, Cause.NARROW)]


def test_one_edge_may_be_where_the_light_ends():
    """One half of the lamp is dead from the coil's first frame on, and nothing tells how wide the strip is."""
    rules = replace(RULES, view_width_px=16)
    assert looked([seen(8, 16)] * 30, rules) == [(Quality.DEGRADED, Cause.NARROW)] * 30
    assert looked([seen(0, 7)] * 30, rules) == [(Quality.MISSED, Cause.NARROW)] * 30
    assert areas([seen(8, 16)], rules) == [(80.0, 0.0, 80.0)]
    assert looked([seen(8, 16)] * 30, replace(rules, strip_width_mm=8.0)) == [INSPECTED] * 30, (
        "the line's width says so"
    )
    assert looked([seen(4, 12)] * 30, rules) == [INSPECTED] * 30, "both edges are in view"


def test_strip_that_wanders_or_grows_wider_is_inspected():
    assert looked([seen(1, 12), seen(2, 13), seen(3, 14), seen(1, 15), seen(0, 16)]) == [INSPECTED] * 5


def test_a_new_coil_may_be_narrower():
    frames = [
        predict(paint(10, 16), first_line=0, ordinal=i, coil=coil, edges=edges)
        for i, (coil, edges) in enumerate([("A", seen(0, 16)), ("B", seen(2, 8))])
    ]
    assert [span.quality for verdict in verdicts(run(frames)) for span in verdict.spans] == [Quality.INSPECTED] * 2


def test_the_coils_width_by_level_2_is_what_must_be_seen():
    data = CoilData("C1", width_mm=12.0)
    assert looked([seen(2, 14), seen(2, 8)], data=data) == [INSPECTED, (Quality.DEGRADED, Cause.NARROW)]
    rules = replace(RULES, view_width_px=16)
    assert looked([seen(0, 9)], rules, data) == [(Quality.DEGRADED, Cause.NARROW)], "both edges should be in view"
    wider = CoilData("C1", width_mm=20.0)
    assert looked([seen(0, 9)], rules, wider) == [INSPECTED], "the camera sees a part of the strip"


def test_the_lines_width_is_what_must_be_seen_until_the_coil_tells():
    rules = replace(RULES, strip_width_mm=12.0)
    assert looked([seen(2, 8)], rules) == [(Quality.DEGRADED, Cause.NARROW)]
    assert looked([seen(2, 14), seen(2, 14)], rules) == [INSPECTED] * 2


@given(
    st.lists(
        st.tuples(st.integers(0, 16), st.integers(0, 16), st.integers(0, 16)).map(
            lambda drawn: seen(min(drawn[:2]), max(drawn[:2]), dark_px=min(drawn[2], abs(drawn[0] - drawn[1])))
        ),
        max_size=12,
    )
)
def test_inspected_strip_was_judged_over_its_width(edges):
    """Lines are inspected only where at least 95 % of the coil's usual width, and of what is in view, was judged."""
    usual_px: list[int] = []
    for one, (quality, cause) in zip(edges, looked(edges), strict=True):
        width_px = one.right_px - one.left_px
        assert (cause is None) == (quality is Quality.INSPECTED)
        if quality is Quality.INSPECTED:
            assert width_px - extent(one.dark_columns) >= JUDGED_SHARE * max(width_px, median(usual_px or [0])) > 0
        expected_px = JUDGED_SHARE * median(usual_px) if len(usual_px) >= 3 else 1
        if width_px >= expected_px:
            usual_px.append(width_px)


def areas(edges: list[StripEdges], rules=RULES, **kwargs) -> list[tuple[float, float, float]]:
    """Inspected, degraded and missed area of each frame of one coil, frames of 10 lines with pixels of 1 mm2."""
    frames = [predict(paint(10, 16), first_line=10 * i, ordinal=i, edges=one, **kwargs) for i, one in enumerate(edges)]
    return [
        tuple(sum(getattr(span.area, name) for span in verdict.spans) for name in MM2)
        for verdict in verdicts(run(frames, rules))
    ]


MM2 = ("inspected_mm2", "degraded_mm2", "missed_mm2")


def test_the_area_that_was_not_seen_is_missed_and_the_rest_is_not():
    """Half of the lamp is dead: one half of the area is inspected, and the lines are degraded."""
    assert areas([seen(0, 16), seen(0, 8)]) == [(160.0, 0.0, 0.0), (80.0, 0.0, 80.0)]
    assert areas([seen(0, 16, dark_px=4, bright_px=2)]) == [(100.0, 0.0, 60.0)]
    assert areas([seen(0, 16)], degraded=Cause.OVERLOAD) == [(0.0, 160.0, 0.0)]
    assert areas([seen(0, 16)], failed=Cause.ENGINE) == [(0.0, 0.0, 160.0)]


def test_cells_without_a_score_are_missed_for_the_engine():
    span = spans_of(predict(paint(10, 16), scored_px=40))[0]
    assert (span.quality, span.cause) == (Quality.MISSED, Cause.ENGINE)
    assert span.area == StripArea(40.0, 0.0, 120.0)
    assert span.uninspected_mm2 == ((Cause.ENGINE, 120.0),)


def test_lines_too_dark_are_no_more_inspected_than_columns():
    edges = StripEdges(0, 16, False, False, dark_columns=((0, 4),), dark_lines=((6, 10),))
    span = spans_of(predict(paint(10, 16), edges=edges))[0]
    assert span.area == StripArea(72.0, 0.0, 88.0)
    assert span.uninspected_mm2 == ((Cause.DARK, 88.0),)


def test_each_cause_has_its_area():
    frames = [predict(paint(10, 16), edges=seen(0, 16))]
    frames.append(predict(paint(10, 16), edges=seen(0, 12, bright_px=2), first_line=10, ordinal=1))
    frames.append(predict(paint(10, 16), first_line=20, ordinal=2, valid_lines=7, fault=Cause.LOST))
    end = notices(run(frames))[-1]
    assert end.uninspected_mm2_by_cause == {"bright": 20.0, "lost": 48.0, "narrow": 40.0}
    assert end.area == StripArea(372.0, 0.0, 108.0)
    assert end.inspected_mm + end.degraded_mm + end.missed_mm == 30.0


def test_a_coil_that_was_never_seen_counts_as_wide_as_the_camera_sees():
    rules = replace(RULES, view_width_px=16)
    assert areas([seen(0, 0)] * 2, rules) == [(0.0, 0.0, 160.0)] * 2
    data = CoilConditions(data=CoilData("C1", width_mm=12.0))
    assert areas([seen(0, 0)], replace(rules, conditions=data)) == [(0.0, 0.0, 120.0)]
    assert areas([seen(2, 12), seen(0, 0)], rules) == [(100.0, 0.0, 0.0), (0.0, 0.0, 100.0)]


def narrowing(to_px: int, by_px: int = 20, frames_each: int = 16) -> list[StripEdges]:
    """Strip of 1000 px that loses less than 5 % of its width, again and again, as when a lamp fails slowly."""
    widths = range(1000, to_px - 1, -by_px)
    return [StripEdges(0, width, False, True) for width in widths for _ in range(frames_each)]


def test_strip_that_turns_narrow_little_by_little_is_not_inspected():
    """However slowly: what counts is the widest that the coil has been, not only its newest frames."""
    told = looked(narrowing(400))
    widths = [one.width_px for one in narrowing(400)]
    assert all((quality is Quality.INSPECTED) == (px >= 950) for px, (quality, _) in zip(widths, told, strict=True))
    assert told[-1] == (Quality.MISSED, Cause.NARROW)
    inspected_mm2, _, missed_mm2 = areas(narrowing(400))[-1]
    assert (inspected_mm2, missed_mm2) == (4000.0, 6000.0)


def test_strip_that_may_taper_is_inspected_as_far_as_it_may():
    told = looked(narrowing(700), replace(RULES, strip_taper=0.2))
    widths = [one.width_px for one in narrowing(700)]
    assert all((quality is Quality.INSPECTED) == (px >= 760) for px, (quality, _) in zip(widths, told, strict=True))


def test_one_frame_that_looks_too_wide_does_not_make_the_rest_narrow():
    """A reflection beside the strip, in the coil's first frame or later."""
    edges = [seen(0, 16), *[seen(2, 12)] * 4, seen(0, 16), *[seen(2, 12)] * 40]
    assert looked(edges)[8:] == [INSPECTED] * 38


@given(
    st.lists(
        st.tuples(st.integers(0, 16), st.integers(0, 16), st.integers(0, 160), st.booleans(), st.integers(0, 10)),
        max_size=12,
    )
)
def test_inspected_degraded_and_missed_area_are_the_area_that_passed(drawn):
    """And what is inspected or degraded is what was scored, whatever the width is thought to be."""
    frames = []
    for i, (left, right, scored, cut_short, valid) in enumerate(drawn):
        edges = seen(min(left, right), max(left, right))
        scored_px = min(scored, edges.width_px * valid)
        degraded = Cause.OVERLOAD if cut_short else None
        frames.append(
            predict(
                paint(10, 16),
                first_line=10 * i,
                ordinal=i,
                edges=edges,
                scored_px=scored_px,
                degraded=degraded,
                valid_lines=valid,
                fault=Cause.LOST,
            )
        )
    end_to_end = run(frames, replace(RULES, view_width_px=16))
    for frame, verdict in zip(frames, verdicts(end_to_end), strict=True):
        scored_mm2 = sum(span.area.inspected_mm2 + span.area.degraded_mm2 for span in verdict.spans)
        assert scored_mm2 == frame.scored_px
        degraded_mm2 = sum(span.area.degraded_mm2 for span in verdict.spans)
        assert degraded_mm2 == (frame.scored_px if frame.degraded else 0)
        passed_mm2 = sum(span.area.passed_mm2 for span in verdict.spans)
        assert 10 * frame.edges.width_px <= passed_mm2 + 1e-6 <= 160 + 2e-6
    if drawn:
        end = notices(end_to_end)[-1]
        spans_mm2 = [span.area.passed_mm2 for verdict in verdicts(end_to_end) for span in verdict.spans]
        assert end.area.passed_mm2 == pytest.approx(sum(spans_mm2))
        uninspected_mm2 = end.area.degraded_mm2 + end.area.missed_mm2
        assert sum(end.uninspected_mm2_by_cause.values()) == pytest.approx(uninspected_mm2)
