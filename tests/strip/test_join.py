"""What several cameras tell of a strip becomes one record, whatever the order in which they are heard."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from known_strip import alarms, events, notices, verdicts
from wide_strip import (
    EDGES,
    FRAME_LINES,
    VIEWS,
    WIDTH_PX,
    Seen,
    blobs,
    by_cameras,
    final,
    heard,
    joined,
    recorded,
    settings,
    told,
)

from linewatch.config.load import checked
from linewatch.contracts.alarm import AlarmState
from linewatch.contracts.errors import ConfigError, WireError
from linewatch.contracts.frame import Cause
from linewatch.contracts.verdict import CoilState, DefectState, Quality, Verdict
from linewatch.review.from_verdicts import read_coil
from linewatch.strip.join import Joiner
from linewatch.strip.settings import StripSettings
from linewatch.wire.decode import decided_from
from linewatch.wire.schema import LINE
from linewatch.wire.verdict_file import line_of

STRIP = settings()
ONE_SIDE = settings(("top",))
SEEDS = st.integers(0, 2**32 - 1)


def figures(decided):
    """Each defect that was found, by what must not depend on the number of cameras."""
    return Counter(
        (e.defect.side, e.defect.box, round(e.defect.area_mm2, 2), e.defect.defect_class) for e in final(decided)
    )


def covered(decided):
    """The sum over the coil's frames: (inspected, degraded, missed) mm2."""
    areas = [span.area for one in verdicts(decided) for span in one.spans]
    return tuple(
        round(sum(getattr(a, name) for a in areas), 1) for name in ("inspected_mm2", "degraded_mm2", "missed_mm2")
    )


@given(SEEDS)
@hypothesis_settings(max_examples=4, deadline=None)
def test_three_cameras_find_what_one_that_sees_all_finds(seed: int) -> None:
    mask = blobs(np.random.default_rng(seed), 200, 20)
    found = joined(ONE_SIDE, by_cameras(mask, ONE_SIDE))
    whole = recorded(told(mask, "top/wide", (0, WIDTH_PX)))
    assert figures(found) == figures(whole)
    assert covered(found) == covered(whole) == ((EDGES[1] - EDGES[0]) * 200.0, 0.0, 0.0)
    assert found[-1].area == whole[-1].area
    assert found[-1].defects_by_class == whole[-1].defects_by_class


@given(SEEDS, st.lists(st.integers(0, 5), max_size=120))
@hypothesis_settings(max_examples=4, deadline=None)
def test_the_record_does_not_depend_on_who_is_heard_first(seed: int, order: list[int]) -> None:
    rng = np.random.default_rng(seed)
    sides = {side: blobs(rng, 130, 10) for side in ("top", "bottom")}
    failed = set(rng.integers(0, 7, 2).tolist())
    seen = by_cameras(sides, STRIP, failed=failed)
    seen[1] = replace(seen[1], decided=seen[1].decided[3:])  # it missed the start
    in_turn = [line_of(one) for one in joined(STRIP, seen)]
    assert [line_of(one) for one in joined(STRIP, seen, order)] == in_turn
    camera_by_camera = [at for at in range(6) for _ in range(20)]
    assert [line_of(one) for one in joined(STRIP, seen, camera_by_camera)] == in_turn


def scratch_over_a_seam() -> np.ndarray:
    """A scratch from the first camera's view to the second one's, on lines 20 to 140."""
    mask = np.zeros((200, WIDTH_PX), np.uint8)
    for line in range(20, 140):
        at = 40 + line // 2
        mask[line, at : at + 4] = 255
    return mask


def test_a_scratch_over_a_seam_is_one_defect_with_one_life() -> None:
    mask = scratch_over_a_seam()
    found = joined(ONE_SIDE, by_cameras(mask, ONE_SIDE))
    steps = [(e.state, e.merged_into) for e in events(found)]
    assert steps[0] == (DefectState.OPENED, None)
    assert steps[-1] == (DefectState.CLOSED, None)
    assert {state for state, _ in steps[1:-1]} == {DefectState.UPDATED}
    assert len({e.defect.id for e in events(found)}) == 1
    (defect,) = [e.defect for e in final(found)]
    assert (defect.id, defect.side, defect.camera) == ("C1/top/cam1/20.50", "top", "strip")
    shown = np.zeros_like(mask)
    for event in events(found):
        if event.mask is not None:
            for line, start, stop in event.mask.runs.tolist():
                shown[event.mask.first_line + line, start:stop] = 255
    assert np.array_equal(shown, mask)
    (whole,) = [e.defect for e in final(recorded(told(mask, "top/wide", (0, WIDTH_PX))))]
    for name in ("area_mm2", "length_mm", "width_mm", "orientation_deg", "probability", "confidence", "edge_mm"):
        assert getattr(defect, name) == pytest.approx(getattr(whole, name), abs=0.05), name


@pytest.mark.parametrize("shift_mm", [-2.0, -1.0, 1.0, 2.0])
def test_what_two_cameras_see_is_told_once_also_where_they_disagree_a_little(shift_mm: float) -> None:
    mask = np.zeros((120, WIDTH_PX), np.uint8)
    for column in range(72, 98, 6):  # the middle of the overlap is at 85
        line = 4 * column - 280
        mask[line : line + 4, column : column + 4] = 255
    shifted = [one.model_copy(update={"across_shift_mm": shift_mm * (one.name == "cam2")}) for one in ONE_SIDE.camera]
    found = joined(ONE_SIDE.model_copy(update={"camera": tuple(shifted)}), by_cameras(mask, ONE_SIDE))
    defects = [e.defect for e in final(found)]
    assert len(defects) == 5
    assert [one.area_mm2 for one in defects] == pytest.approx([16.0] * 5, abs=8.0 * abs(shift_mm))


def test_masks_lie_where_the_lens_of_a_camera_saw_them() -> None:
    mask, (_, second, third) = scratch_over_a_seam(), by_cameras(np.zeros((200, WIDTH_PX), np.uint8), ONE_SIDE)
    bent = recorded(told(mask, "top/cam1", VIEWS["cam1"], distortion_px=(0.0, -15.0)))
    second = replace(second, decided=recorded(told(mask, second.key, VIEWS["cam2"], distortion_px=(6.0,))))
    unknown = [replace(one, columns=None) if isinstance(one, Verdict) else one for one in bent]

    def most_px(first) -> int:
        """How far the ends of the scratch lie from where they are, at most, and at how many places it is told."""
        found = joined(ONE_SIDE, [Seen("top/cam1", tuple(first)), second, third])
        assert len(list(final(found))) == 1
        lines = [(e.mask.first_line + line, start, stop) for e in events(found) if e.mask is not None
                 for line, start, stop in e.mask.runs.tolist()]  # fmt: skip
        ends = [np.flatnonzero(mask[line])[[0, -1]] for line, _, _ in lines]
        assert {line for line, _, _ in lines} >= set(range(20, 75))
        return max(
            max(left - start, stop - 1 - right) for (_, start, stop), (left, right) in zip(lines, ends, strict=True)
        )

    assert most_px(bent) <= 2
    assert most_px(unknown) >= 4


def test_a_note_tells_that_a_camera_has_another_view_than_the_settings() -> None:
    moved = StripSettings.model_validate(
        {"camera": [{**one.model_dump(), "across_offset_mm": one.across_offset_mm + 5.0} for one in ONE_SIDE.camera]}
    )
    end = joined(moved, by_cameras(scratch_over_a_seam(), ONE_SIDE))[-1]
    said = "top/cam2 sees 70 to 170 mm by its service, 75 to 175 mm by the strip's settings"
    assert said in end.conditions.notes
    assert joined(ONE_SIDE, by_cameras(scratch_over_a_seam(), ONE_SIDE))[-1].conditions.notes == ()


def test_a_defect_that_one_camera_alone_sees_is_told() -> None:
    mask = np.zeros((64, WIDTH_PX), np.uint8)
    mask[10:14, 78:82] = mask[40:44, 88:92] = 255  # the first camera answers for one, the second for the other
    for blind in (0, 1):
        seen = by_cameras(mask, ONE_SIDE)
        clean = np.zeros_like(mask)
        key = seen[blind].key
        seen[blind] = replace(seen[blind], decided=recorded(told(clean, key, VIEWS[key.split("/")[1]])))
        assert len(list(final(joined(ONE_SIDE, seen)))) == 2


def test_a_metre_seen_by_two_of_three_cameras_is_not_inspected_over_the_share_of_the_third() -> None:
    seen = by_cameras(np.zeros((96, WIDTH_PX), np.uint8), ONE_SIDE)
    blind = recorded(told(np.zeros((96, WIDTH_PX), np.uint8), "top/cam2", VIEWS["cam2"], failed={1}))
    seen[1] = replace(seen[1], decided=blind)
    one, two, three = verdicts(joined(ONE_SIDE, seen))
    assert [v.spans[0].quality for v in (one, two, three)] == [Quality.INSPECTED, Quality.DEGRADED, Quality.INSPECTED]
    (span,) = two.spans
    width_mm, third_mm = EDGES[1] - EDGES[0], 155 - 85  # from the middle of one overlap to that of the other
    assert span.area.missed_mm2 == third_mm * FRAME_LINES
    assert span.area.inspected_mm2 == (width_mm - third_mm) * FRAME_LINES
    assert span.by_camera == (("top/cam2", Cause.ENGINE, float(third_mm * FRAME_LINES)),)
    assert span.cause is Cause.ENGINE


def test_sides_are_kept_apart(tmp_path) -> None:
    mask = np.zeros((64, WIDTH_PX), np.uint8)
    mask[10:20, 40:50] = 255
    seen = by_cameras(mask, STRIP)
    seen[4] = replace(seen[4], decided=recorded(told(mask, "bottom/cam2", VIEWS["cam2"], failed={0})))
    found = joined(STRIP, seen)
    assert sorted(e.defect.id for e in final(found)) == ["C1/bottom/cam1/10.40", "C1/top/cam1/10.40"]
    assert {e.defect.side for e in final(found)} == {"top", "bottom"}
    (tmp_path / "joined.jsonl").write_bytes(b"".join(map(line_of, found)))
    assert sorted(one.side for one in read_coil(tmp_path / "joined.jsonl").defects) == ["bottom", "top"]
    first = verdicts(found)[0]
    assert first.side == "both"
    assert first.spans[0].quality is Quality.DEGRADED  # by the bottom, of which 69 % were inspected
    assert first.spans[0].area.passed_mm2 == 2 * (EDGES[1] - EDGES[0]) * FRAME_LINES
    assert first.engines == tuple(sorted(f"{one.key} eye@{one.name}" for one in STRIP.camera))


def test_a_silent_camera_holds_nothing_up_and_its_share_is_put_right_when_it_tells(tmp_path) -> None:
    settings_ = ONE_SIDE.model_copy(update={"strip": ONE_SIDE.strip.model_copy(update={"wait_s": 0.2})})
    mask = np.zeros((640, WIDTH_PX), np.uint8)
    mask[300:306, 110:120] = 255  # before the silent camera
    seen = by_cameras(mask, settings_)
    found = heard(settings_, seen, "top/cam2", 3, 14)
    lost = [v for v in verdicts(found) if v.spans[0].cause is Cause.SILENT]
    assert 8 <= len(lost) <= 12
    assert all(v.spans[0].by_camera == (("top/cam2", Cause.SILENT, 70.0 * FRAME_LINES),) for v in lost)
    (correcting,) = [v for v in verdicts(found) if v.corrections]
    (span,) = correcting.corrections
    assert (span.first_line, span.lines) == (lost[0].first_line, len(lost) * FRAME_LINES)
    assert span.quality is Quality.INSPECTED
    assert found[-1].area == joined(settings_, seen)[-1].area
    assert (found[-1].missed_mm, found[-1].degraded_mm, found[-1].missed_lines_by_cause) == (0.0, 0.0, {})
    assert found[-1].uninspected_mm2_by_cause == {}
    assert figures(found) == figures(joined(settings_, seen))
    path = tmp_path / "joined.jsonl"
    path.write_bytes(b"".join(map(line_of, found)))
    (span,) = read_coil(path).spans
    assert (span.quality, span.lines, span.area) == (Quality.INSPECTED, 640, found[-1].area)
    line = LINE.validate_json(line_of(correcting))
    assert line_of(decided_from(line)) == line_of(replace(correcting, alarms=(), roll_marks=()))


def test_a_camera_that_stays_silent_leaves_its_share_missed() -> None:
    settings_ = ONE_SIDE.model_copy(update={"strip": ONE_SIDE.strip.model_copy(update={"wait_s": 0.2})})
    seen = by_cameras(np.zeros((640, WIDTH_PX), np.uint8), settings_)
    seen[1] = replace(seen[1], decided=seen[1].decided[:5])
    found = heard(settings_, seen, "", 0, 0)
    assert len(verdicts(found)) == 20
    missed_mm2 = (640 - 4 * FRAME_LINES) * 70.0
    assert found[-1].uninspected_mm2_by_cause == {"silent": missed_mm2}
    assert found[-1].area.passed_mm2 == 640 * (EDGES[1] - EDGES[0])
    assert found[-1].degraded_mm == 640 - 4 * FRAME_LINES


def test_cameras_that_saw_other_coils_come_back_into_step() -> None:
    clean = np.zeros((64, WIDTH_PX), np.uint8)
    seen = []
    for one in ONE_SIDE.camera:
        coils = {"cam2": ["A", "C", "D"], "cam3": ["A", "X", "B", "C", "D"]}.get(one.name, ["A", "B", "C", "D"])
        said = [x for coil in coils for x in recorded(told(clean, one.key, VIEWS[one.name], coil=coil))]
        seen.append(Seen(one.key, tuple(said)))
    in_turn = joined(ONE_SIDE, seen)
    ended = {n.coil: n for n in notices(in_turn) if n.state is CoilState.ENDED}
    assert list(ended) == ["A", "B", "C", "D"]
    assert {coil: one.area.missed_mm2 > 0 for coil, one in ended.items()} == {"A": 0, "B": 1, "C": 0, "D": 0}
    assert ended["B"].conditions.notes == ("nothing was told at its start by top/cam2, top/cam3",)
    for order in ([0] * 40, [1] * 40, [2] * 40, [2, 1, 0] * 40):
        assert [line_of(one) for one in joined(ONE_SIDE, seen, order)] == [line_of(one) for one in in_turn]


@pytest.mark.parametrize(("stop", "length", "missed_lines"), [(190, 190, 0), (120, 200, 80)])
def test_cameras_may_differ_a_little_about_the_coils_end(stop: int, length: int, missed_lines: int) -> None:
    strip = ONE_SIDE.strip.model_copy(update={"ends_mm": 20.0})
    settings_ = ONE_SIDE.model_copy(update={"strip": strip})
    seen = by_cameras(np.zeros((200, WIDTH_PX), np.uint8), settings_)
    short = recorded(told(np.zeros((stop, WIDTH_PX), np.uint8), "top/cam2", VIEWS["cam2"]))
    seen[1] = replace(seen[1], decided=short)
    end = joined(settings_, seen)[-1]
    assert end.along_mm == length
    assert end.area.missed_mm2 == missed_lines * 70.0
    assert end.conditions.notes == (f"its cameras differ by {200 - stop} mm about where it ends",)


def test_a_camera_further_along_counts_from_the_strips_head() -> None:
    mask = scratch_over_a_seam()
    cameras = [one.model_copy(update={"along_offset_mm": 13.0 * (one.name == "cam2")}) for one in ONE_SIDE.camera]
    settings_ = ONE_SIDE.model_copy(update={"camera": tuple(cameras)})
    seen = by_cameras(mask, settings_)
    late = recorded(told(mask[13:], "top/cam2", VIEWS["cam2"]))
    found = joined(settings_, [seen[0], replace(seen[1], decided=late), seen[2]])
    assert figures(found) == figures(joined(ONE_SIDE, seen))
    assert found[-1].uninspected_mm2_by_cause == {"silent": 13 * 70.0}


@pytest.mark.parametrize(("max_slip_mm", "doubles"), [(50.0, 0), (0.0, 2)])
def test_encoders_that_slip_are_followed(max_slip_mm: float, doubles: int) -> None:
    mask = np.zeros((640, WIDTH_PX), np.uint8)
    for line in range(10, 600, 40):
        mask[line : line + 6, 90:96] = 255  # in the overlap, and the second camera's
    slow = np.zeros_like(mask)
    for line in range(640):
        slow[line] = mask[min(639, round(line * 1.02))]  # its encoder counts 2 % too little
    settings_ = ONE_SIDE.model_copy(update={"strip": ONE_SIDE.strip.model_copy(update={"max_slip_mm": max_slip_mm})})
    seen = by_cameras(mask, settings_)
    seen[1] = replace(seen[1], decided=recorded(told(slow, "top/cam2", VIEWS["cam2"])))
    found = joined(settings_, seen)
    count = len(list(final(found)))
    assert count == 15 if not doubles else count >= 15 + doubles
    assert any("mm less than top/cam1" in note for note in found[-1].conditions.notes) == (doubles == 0)


@given(st.integers(0, 190), st.sampled_from([16, 20, 50]))
@hypothesis_settings(max_examples=4, deadline=None)
def test_every_defect_alarms_however_the_cameras_cut_their_frames(line: int, frame_lines: int) -> None:
    taxonomy = "configs/taxonomy.toml"
    mask = np.zeros((200, WIDTH_PX), np.uint8)
    mask[line : line + 5, 60:66] = 255
    settings_ = settings(("top",), alarm=({"name": "any", "latch": False},), taxonomy=taxonomy)
    found = joined(settings_, by_cameras(mask, settings_, frame_lines=frame_lines))
    raised = [one for one in alarms(found) if one.state is AlarmState.RAISED and one.rule == "any"]
    assert [one.defect_ids for one in raised] == [(next(final(found)).defect.id,)]
    assert (raised[0].side, raised[0].camera) == ("top", "strip")


def test_roll_marks_and_the_grade_are_of_the_whole_strip(tmp_path) -> None:
    rules = Path("configs/grading/example.toml").read_text().replace("excluded_m = 1.0", "excluded_m = 0.0")
    (tmp_path / "rules.toml").write_text(rules)
    mask = np.zeros((1200, WIDTH_PX), np.uint8)
    for line in range(20, 1180, 100):
        mask[line : line + 4, 83:88] = 255  # over the middle of the first overlap
    clean = np.zeros_like(mask)
    settings_ = settings(
        periodic={"min_pitch_mm": 50.0},
        taxonomy="configs/taxonomy.toml",
        decision={"grading": str(tmp_path / "rules.toml")},
    )
    found = joined(settings_, by_cameras({"top": mask, "bottom": clean}, settings_))
    marks = [mark for one in found for mark in one.roll_marks]
    assert marks[-1].side == "top"
    assert marks[-1].marks == 12
    assert marks[-1].pitch_mm == pytest.approx(100, abs=0.1)
    assert found[-1].grade.inspected_share == 1.0
    assert sum(found[-1].grade.defects_by_severity.values()) == 12


def test_the_service_of_another_camera_is_refused() -> None:
    joiner = Joiner(ONE_SIDE)
    with pytest.raises(WireError, match="'top/cam2' calls itself 'top/cam1'; expected the same"):
        joiner.take("top/cam2", by_cameras(np.zeros((32, WIDTH_PX), np.uint8), ONE_SIDE)[0].decided[0])


@pytest.mark.parametrize(
    ("cameras", "said"),
    [
        ([(0, 100), (0, 100)], "two [[camera]] are 'top/cam'"),
        ([(0, 100), (150, 250)], "50 mm of strip lie between them, expected an overlap"),
        ([(0, 100), (20, 90)], "expected neighbours, none of which sees all that the other does"),
    ],
)
def test_cameras_that_cannot_stand_so_are_refused(cameras, said: str) -> None:
    named = "cam" if cameras[0] == cameras[1] else "cam{}"
    tree = [
        {"name": named.format(i), "width_px": b - a, "mm_per_px": 1.0, "across_offset_mm": float(a)}
        for i, (a, b) in enumerate(cameras)
    ]
    with pytest.raises(ConfigError) as refused:
        checked({"camera": tree}, "strip.toml", StripSettings)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
