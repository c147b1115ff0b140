"""Roll marks: what recurs is recognised with its own pitch, once, however the strip is cut; chance is not."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_strip import CLASSES, RULES, notices, predict, run, verdicts

from linewatch.config.line import LineSettings
from linewatch.config.roll import PeriodicSettings, RollSettings
from linewatch.contracts.verdict import Defect, DefectState, Extent, RollMarkState, StripBox
from linewatch.decision.rollmarks.row import KEPT_MARKS
from linewatch.decision.rollmarks.rows import LOST_AFTER, MAX_REMEMBERED, MAX_ROWS, Recurrence, follow_rolls
from linewatch.decision.rollmarks.rows import end_rolls as end_of_coil
from linewatch.decision.rollmarks.suspects import suspects
from linewatch.simulation.strip import SimulatedRollMark, SimulatedStrip

LENGTH_MM = 100_000.0


def defect(x: float, y: float, width: float = 10.0, length: float = 14.0, name: str = "inclusion") -> Defect:
    return Defect(
        *(f"{x:.3f}/{y:.3f}", "C1", "top", "cam1", name),
        confidence=0.9,
        peak=0.9,
        probability=0.9,
        box=StripBox((x - width / 2, x + width / 2), (y - length / 2, y + length / 2)),
        area_mm2=width * length / 2,
        edge_mm=None,
        extent=Extent.MASK,
        frames=1,
    )


def clutter(seed: int, count: int = 400, length_mm: float = LENGTH_MM) -> list[Defect]:
    """Random defects of five classes, 5 per m² of a strip 0.8 m wide."""
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.normal(3, 0.6, (count, 2)))
    return [
        defect(x, y, w, h, name)
        for x, y, (w, h), name in zip(
            rng.uniform(0, 800, count),
            rng.uniform(0, length_mm, count),
            sizes,
            rng.choice(list("abcde"), count),
            strict=True,
        )
    ]


def row(pitch_mm: float, x: float = 400.0, first_mm: float = 50_000.0, marks: int = 20, **looks) -> list[Defect]:
    return [defect(x, first_mm + turn * pitch_mm, **looks) for turn in range(marks)]


def follow(defects, frame_mm=256.0, rolls=(), length_mm=LENGTH_MM, begin_mm=0.0):
    """(state, all events) when the strip has gone by."""
    state, events = Recurrence.initial(begin_mm, PeriodicSettings(), rolls), []
    by_frame = {}
    for one in defects:
        by_frame.setdefault(int((one.box.along_mm[1] - begin_mm) // frame_mm), []).append(one)
    for frame in range(int(length_mm // frame_mm) + 1):
        state, more = follow_rolls(state, by_frame.get(frame, ()), begin_mm + (frame + 1) * frame_mm)
        events += more
    return state, events


def recognised(events):
    return [event for event in events if event.state is RollMarkState.RECOGNISED]


@pytest.mark.parametrize("pitch_mm", [450.0, 1900.0, 2513.3])
def test_a_row_among_clutter_is_recognised_once_and_grows(pitch_mm):
    marks = row(pitch_mm)
    state, events = follow(clutter(1) + marks)
    (first,) = recognised(events)
    assert first.marks <= 6
    assert first.confidence > 0.5
    assert first.defect_ids == tuple(mark.id for mark in marks[: first.marks])
    last = [event for event in events if event.state is RollMarkState.UPDATED][-1]
    assert (last.id, last.marks, last.marks_due) == (first.id, 20, 20)
    assert last.pitch_mm == pytest.approx(pitch_mm, abs=0.5)
    assert last.across_mm == marks[0].box.across_mm
    assert last.along_mm == (marks[0].box.along_mm[0], marks[-1].box.along_mm[1])
    assert last.confidence > 0.9999
    assert last.suspects == ()
    assert end_of_coil(state)[-1:] == tuple(replace(last, state=RollMarkState.ENDED) for _ in state.rows)


@pytest.mark.parametrize("seed", range(3))
def test_clutter_alone_is_not_called(seed):
    assert follow(clutter(100 + seed))[1] == []


def test_a_row_is_told_once_one_of_its_marks_is_called():
    marks = [replace(mark, tentative=True) for mark in row(1900.0)]
    state, events = follow(clutter(1) + marks)
    assert events == []
    assert end_of_coil(state) == ()
    marks[12] = replace(marks[12], tentative=False)
    state, events = follow(clutter(1) + marks)
    assert [event.state for event in events] == [RollMarkState.RECOGNISED] + [RollMarkState.UPDATED] * 7
    assert events[0].marks == 13
    assert [event.marks for event in end_of_coil(state)] == [20]


def test_missed_marks_are_counted_as_due():
    marks = [mark for turn, mark in enumerate(row(1200.0)) if turn not in (2, 7, 8)]
    events = follow(clutter(2) + marks, length_mm=73_000.0)[1]
    assert (events[-1].marks, events[-1].marks_due) == (17, 20)
    assert events[-1].pitch_mm == pytest.approx(1200, abs=1)
    assert len(recognised(events)) == 1


def test_a_row_seen_every_second_turn_gets_its_own_pitch_when_the_others_show():
    """First only every second turn leaves a mark, then all do: one row, its pitch halved, its turns counted anew."""
    all_turns = row(1000.0, first_mm=20_000.0, marks=40)
    marks = [mark for turn, mark in enumerate(all_turns) if turn % 2 == 0 or turn > 16]
    events = follow(clutter(3) + marks)[1]
    (first,) = recognised(events)
    assert first.pitch_mm == pytest.approx(2000, abs=1)
    last = [event for event in events if event.state is RollMarkState.UPDATED][-1]
    assert last.id == first.id
    assert last.pitch_mm == pytest.approx(1000, abs=1)
    assert last.marks_due == 40
    assert last.marks == len(marks)


def test_strangers_between_the_first_marks_are_forgotten():
    """Defects just like the mark between its first turns halve the pitch; when no more come, it is the roll's own."""
    strangers = [defect(400.0, 20_000.0 + 2000.0 * turn + 1000.0) for turn in range(4)]
    events = follow(clutter(3) + strangers + row(2000.0, first_mm=20_000.0, marks=20), length_mm=60_000.0)[1]
    (first,) = recognised(events)
    assert first.pitch_mm == pytest.approx(1000, abs=1)
    assert events[-1].id == first.id
    assert events[-1].pitch_mm == pytest.approx(2000, abs=1)
    assert events[-1].marks <= events[-1].marks_due <= 21


@pytest.mark.slow
def test_marks_missed_at_random_give_the_fundamental():
    """Never a multiple nor a fraction of the pitch, though a third of the marks is missing."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        marks = [mark for mark in row(1500.0, first_mm=30_000.0, marks=40) if rng.random() > 0.33]
        events = follow(clutter(20 + seed) + marks)[1]
        grown = [event for event in events if event.marks >= 8]
        assert grown
        assert all(event.pitch_mm == pytest.approx(1500, abs=2) for event in grown)


def test_two_marks_of_one_roll_are_two_rows_of_one_pitch():
    events = follow(clutter(4) + row(1700.0, x=100.0) + row(1700.0, x=600.0, first_mm=50_400.0))[1]
    one, other = recognised(events)
    assert one.id != other.id
    assert one.pitch_mm == pytest.approx(other.pitch_mm, abs=1)


def test_marks_in_pieces_count_once():
    marks = row(1700.0, length=20.0)
    pieces = [defect(400.0, mark.box.along_mm[0] + at, length=9.0) for mark in marks[6:9] for at in (4.5, 15.5)]
    events = follow(clutter(5) + marks[:6] + pieces + marks[9:])[1]
    last = [event for event in events if event.state is not RollMarkState.ENDED][-1]
    assert (last.marks, last.marks_due) == (20, 20)
    assert len(recognised(events)) == 1


def test_a_roll_that_is_changed_ends_its_row():
    events = follow(clutter(6) + row(800.0, first_mm=20_000.0, marks=15))[1]
    (ended,) = [event for event in events if event.state is RollMarkState.ENDED]
    assert (ended.marks, ended.id) == (15, recognised(events)[0].id)
    assert events[-1] == ended
    assert LOST_AFTER * 800.0 < 60_000


def test_long_defects_make_no_row():
    assert follow(row(1000.0, length=500.0))[1] == []


def test_tiles_make_no_row():
    """A tile's box lies on a grid: rows of them tell nothing."""
    marks = row(1024.0)
    assert recognised(follow(clutter(7) + marks)[1])
    assert follow([*clutter(7), *(replace(mark, extent=Extent.TILE) for mark in marks)])[1] == []


def told(events):
    return [(e.state, e.marks, e.marks_due, e.defect_class) for e in events]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), along_mm=st.integers(0, 10**8), across_mm=st.integers(-2000, 2000))
def test_nothing_depends_on_where_the_strip_begins(seed, along_mm, across_mm):
    """Moved along or across by whole millimetres, the same is decided of the same strip, moved."""
    rng = np.random.default_rng(seed)
    marks = [defect(400.25, 5_000.5 + 1_300.0 * turn) for turn in range(15) if rng.random() > 0.1]
    here = [*marks, *clutter(seed, 150, 30_000.0)]
    moved = [
        replace(
            d,
            box=StripBox(
                *(
                    tuple(math.fsum((v, by)) for v in side)
                    for side, by in ((d.box.across_mm, across_mm), (d.box.along_mm, along_mm))
                )
            ),
        )
        for d in here
    ]
    one, other = (follow(d, length_mm=30_000.0, begin_mm=b)[1] for d, b in ((here, 0.0), (moved, float(along_mm))))
    assert told(one) == told(other)
    assert [e.pitch_mm for e in one] == pytest.approx([e.pitch_mm for e in other], abs=1e-3)
    assert [e.along_mm[0] + along_mm for e in one] == pytest.approx([e.along_mm[0] for e in other])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_order_within_a_frame_is_nothing(seed):
    rng = np.random.default_rng(seed)
    strip = clutter(seed, 200, 40_000.0) + row(1100.0, first_mm=5_000.0, marks=25)
    shuffled = [strip[i] for i in rng.permutation(len(strip))]
    assert follow(strip, length_mm=40_000.0)[1] == follow(shuffled, length_mm=40_000.0)[1]


@pytest.mark.parametrize("frame_mm", [64.0, 999.0, 4096.0])
def test_frames_of_any_length_give_the_same_rows(frame_mm):
    marks = row(1100.0, first_mm=5_000.0, marks=25)
    last = follow(clutter(8, 200, 40_000.0) + marks, frame_mm=frame_mm, length_mm=40_000.0)[0].rows
    assert [(r.seen, r.last.slot, round(r.pitch_mm, 3)) for r in last] == [(25, 24, 1100.0)]


def test_deciding_changes_no_state():
    state, _ = follow(clutter(9, 100, 20_000.0), length_mm=20_000.0)
    before = state.table.copy()
    more = [defect(400.0, 20_300.0)]
    assert follow_rolls(state, more, 20_480.0)[1] == follow_rolls(state, more, 20_480.0)[1]
    assert np.array_equal(state.table, before)


def test_memory_is_bounded_over_a_mess():
    rng = np.random.default_rng(1)
    state = Recurrence.initial(0.0, PeriodicSettings(), ())
    for frame in range(150):
        xs, ys = rng.uniform(0, 800, 100), frame * 256 + rng.uniform(0, 200, 100)
        state, _ = follow_rolls(state, [defect(x, y) for x, y in zip(xs, ys, strict=True)], (frame + 1) * 256.0)
        assert len(state.table) <= MAX_REMEMBERED
        assert len(state.defects) <= MAX_REMEMBERED + 100
        assert len(state.rows) <= MAX_ROWS
        assert all(len(one.newest) <= KEPT_MARKS for one in state.rows)


@pytest.mark.slow
def test_memory_is_bounded_over_100_km():
    state = Recurrence.initial(0.0, PeriodicSettings(), ())
    for metre in range(0, 100_000, 2):
        mark = defect(400.0, metre * 1000.0 + 5)
        state, _ = follow_rolls(state, [mark], metre * 1000.0 + 20)
    (only,) = state.rows
    assert only.seen == 50_000
    assert len(only.newest) == KEPT_MARKS
    assert len(state.defects) <= MAX_REMEMBERED


ROLLS = tuple(
    RollSettings(
        name=name,
        stand=stand,
        diameter_min_mm=low,
        diameter_max_mm=high,
        forward_slip=slip,
        forward_slip_error=0.01,
        h_stand_mm=h_mm,
        h_exit_mm=2.0,
    )
    for name, stand, low, high, slip, h_mm in (
        ("F6 top", "F6", 600.0, 680.0, 0.05, 2.8),
        ("F7 top", "F7", 600.0, 680.0, 0.04, 2.0),
        ("pinch", "P", 690.0, 700.0, 0.0, 2.0),
    )
)


def test_pitch_at_the_camera():
    """pi * D * (1 + forward slip) * h_stand / h_exit, as a rolling textbook has it."""
    low, high = ROLLS[0].pitch_mm
    assert low == pytest.approx(math.pi * 600 * 1.04 * 1.4)
    assert high == pytest.approx(math.pi * 680 * 1.06 * 1.4)


def test_suspects_are_ranked_with_the_diameter_that_each_would_have():
    pitch_mm = math.pi * 695.0
    pinch, f7 = suspects(pitch_mm, 0.5, ROLLS)
    assert (pinch.roll, pinch.turns, f7.roll) == ("pinch", 1, "F7 top")
    assert pinch.share > 0.75
    assert pinch.share + f7.share == pytest.approx(1)
    assert f7.diameter_mm[0] < 695 / 1.04 < f7.diameter_mm[1]
    assert all(one.diameter_mm[0] <= one.diameter_mm[1] for one in (pinch, f7))
    assert suspects(1234.0, 0.5, ROLLS) == ()


def test_a_multiple_of_a_rolls_pitch_points_to_it_with_the_turns():
    (only,) = suspects(2 * math.pi * 610 * 1.03, 0.5, ROLLS[1:2])
    assert (only.roll, only.turns) == ("F7 top", 2)


def test_a_row_names_its_roll():
    events = follow(clutter(10) + row(math.pi * 640 * 1.04), rolls=ROLLS)[1]
    assert recognised(events)[0].suspects[0].roll == "F7 top"


def rolled_strip() -> SimulatedStrip:
    mark = SimulatedRollMark(pitch_mm=1400.0, across_mm=160.0, first_mm=4000.0, jitter_mm=2.0, missed=0.1)
    line = LineSettings(width_px=640, mm_per_px=0.5, mm_per_line=1.0)
    return SimulatedStrip(7, 30.0, 1.5, line, roll_marks=[mark])


def test_a_rendered_strip_end_to_end():
    """Truth masks of a rendered strip through `decide`: the printed row comes out and ends with the coil."""
    strip = rolled_strip()
    (truth,) = strip.truth("C1").roll_marks
    predictions = [
        predict(
            np.where(strip.mask(first, min(256, strip.total_lines - first)) > 0, 255, 0).astype(np.uint8),
            first_line=first,
            ordinal=first // 256,
            mm_per_px=0.5,
            scores=(0.1, 0.9, 0.1),
        )
        for first in range(0, strip.total_lines, 256)
    ]
    decided = run(predictions, replace(RULES, merge_gap_mm=2.0, min_area_mm2=4.0))
    marks = [mark for verdict in verdicts(decided) for mark in verdict.roll_marks]
    (first,) = recognised(marks)
    assert first.marks_due <= 6
    ended = notices(decided)[-1].roll_marks
    assert [(mark.id, mark.state) for mark in ended] == [(first.id, RollMarkState.ENDED)]
    assert ended[0].pitch_mm == pytest.approx(1400, abs=2)
    assert ended[0].across_mm[0] < 160 < ended[0].across_mm[1]
    assert ended[0].marks == len(truth.defect_ids)
    assert ended[0].marks_due == truth.due
    known = {
        event.defect.id
        for verdict in verdicts(decided)
        for event in verdict.defects
        if event.state is DefectState.CLOSED
    }
    assert set(ended[0].defect_ids) <= known


def test_pseudo_defects_make_no_roll_mark():
    predictions = []
    for ordinal in range(60):
        probability = np.zeros((256, 64), np.uint8)
        if ordinal % 4 == 0:
            probability[100:112, 20:30] = 255
        predictions.append(predict(probability, first_line=256 * ordinal, ordinal=ordinal, scores=(0.1, 0.1, 0.9)))
    assert not any(verdict.roll_marks for verdict in verdicts(run(predictions)))
    predictions = [replace(p, class_scores=np.full_like(p.class_scores, 0.6)) for p in predictions]
    assert any(verdict.roll_marks for verdict in verdicts(run(predictions)))
    assert CLASSES[2] == "water"
