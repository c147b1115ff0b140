"""One physical defect is one instance, wherever tiles and frames happen to be cut."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_strip import RULES, cut_strip, events, instances, paint, predict, run, verdicts

from linewatch.contracts.frame import Cause, StripEdges
from linewatch.contracts.prediction import Depth
from linewatch.contracts.verdict import DefectState, Extent, StripBox
from linewatch.decision.defects import pieces
from linewatch.decision.defects.groups import connected, members
from linewatch.geometry.runs import near, to_mask, to_runs

OPENED, UPDATED, CLOSED = DefectState.OPENED, DefectState.UPDATED, DefectState.CLOSED


def life(decided):
    return [
        (e.state, e.defect.id.rsplit("/", 1)[1], e.merged_into and e.merged_into.rsplit("/", 1)[1])
        for e in events(decided)
    ]


def shapes(decided):
    return sorted(
        (
            d.box.along_mm,
            d.box.across_mm,
            d.area_mm2,
            d.length_mm,
            d.width_mm,
            d.orientation_deg,
            d.defect_class,
            d.peak,
        )
        for d in instances(decided)
    )


@st.composite
def strips(draw):
    lines, width = draw(st.integers(1, 40)), draw(st.integers(1, 24))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    probability = rng.integers(128, 256, (lines, width), np.uint8)
    probability[rng.random((lines, width)) > draw(st.sampled_from([0.05, 0.2, 0.5, 0.8]))] = 0
    return probability


@pytest.mark.slow
@given(
    strips(),
    st.lists(st.integers(1, 20), max_size=8),
    st.sampled_from([0.0, 1.0, 2.5, 30.0]),
    st.sampled_from([0.0, 2.0, 6.0]),
    st.integers(4, 24),
)
def test_frames_of_any_height_give_the_instances_of_one_large_frame(probability, heights, gap_mm, area_mm2, tile_width):
    rules = replace(RULES, merge_gap_mm=gap_mm, min_area_mm2=area_mm2)
    scale = {"mm_per_px": 0.5, "mm_per_line": 1.0, "tile_width": tile_width}
    whole = run(cut_strip(probability, [], **scale), rules)
    parts = run(cut_strip(probability, heights, **scale), rules)
    assert shapes(parts) == shapes(whole)
    confidences = [sorted(d.confidence for d in instances(decided)) for decided in (parts, whole)]
    assert confidences[0] == pytest.approx(confidences[1])


@given(strips(), st.lists(st.integers(1, 20), max_size=8), st.sampled_from([0.0, 1.0, 2.5]))
def test_masks_of_all_frames_make_up_exactly_the_defect_pixels(probability, heights, gap_mm):
    decided = run(cut_strip(probability, heights), replace(RULES, merge_gap_mm=gap_mm))
    seen = np.zeros(probability.shape, int)
    for event in events(decided):
        if event.mask is not None:
            part = seen[event.mask.first_line :]
            part += to_mask(event.mask.runs, *part.shape)
    assert np.array_equal(seen, probability > 0)
    assert sum(d.area_mm2 for d in instances(decided)) == seen.sum()


@given(strips(), st.sampled_from([0.0, 1.0, 2.0, 7.0, 30.0]), st.sampled_from([0.4, 1.0]))
def test_pixels_are_one_defect_exactly_when_steps_within_the_merge_gap_lead_from_one_to_the_other(
    probability, gap_mm, mm_per_px
):
    rules = replace(RULES, merge_gap_mm=gap_mm)
    decided = run([predict(probability, mm_per_px=mm_per_px)], rules)
    found = {frozenset(map(tuple, e.mask.runs.tolist())) for e in events(decided) if e.mask is not None}
    runs = to_runs(probability > 0)
    ones, others = np.nonzero(near(runs, runs, rules.reach(mm_per_px), rules.reach(1.0)))
    expected = members(connected(len(runs), ones, others))
    assert found == {frozenset(map(tuple, runs[group].tolist())) for group in expected}


@pytest.mark.slow
@given(strips(), st.lists(st.integers(1, 20), max_size=8), st.sampled_from([0.0, 2.5]), st.sampled_from([0.0, 6.0]))
def test_every_life_is_opened_updated_closed_once_and_ids_are_unique(probability, heights, gap_mm, area_mm2):
    rules = replace(RULES, merge_gap_mm=gap_mm, min_area_mm2=area_mm2)
    lives = {}
    for event in events(run(cut_strip(probability, heights), rules)):
        lives.setdefault(event.defect.id, []).append(event)
    for life_events in lives.values():
        states = [event.state for event in life_events]
        assert states == [OPENED, *[UPDATED] * (len(states) - 2), CLOSED]
        assert all((event.mask is None) == (event.state is CLOSED) for event in life_events)
        areas = [event.defect.area_mm2 for event in life_events]
        assert areas == sorted(areas)
        assert areas[0] >= area_mm2
        assert life_events[-1].merged_into is None or life_events[-1].merged_into in lives


def test_a_defect_within_one_frame_opens_and_closes_there():
    decided = run([predict(paint(20, 30, (5, 9, 10, 16)))])
    (verdict,) = verdicts(decided)
    opened, closed = verdict.defects
    assert (opened.state, closed.state) == (OPENED, CLOSED)
    assert opened.defect == closed.defect
    assert opened.defect.id == "C1/top/cam1/5.10"
    assert opened.defect.box == StripBox((10.0, 16.0), (5.0, 9.0))
    assert (opened.defect.area_mm2, opened.defect.frames, opened.defect.extent) == (24.0, 1, Extent.MASK)
    assert opened.defect.peak == pytest.approx(200 / 255)
    assert to_mask(opened.mask.runs, 20, 30).sum() == 24
    assert closed.mask is None


def test_a_long_scratch_keeps_the_id_of_where_it_began():
    decided = run(cut_strip(paint(50, 30, (5, 45, 10, 12)), [10] * 4))
    assert life(decided) == [(OPENED, "5.10", None), *[(UPDATED, "5.10", None)] * 4, (CLOSED, "5.10", None)]
    (scratch,) = instances(decided)
    assert scratch.box.along_mm == (5.0, 45.0)
    assert scratch.frames == 5


def test_what_a_defect_tells_of_itself():
    decided = run([predict(paint(40, 30, (5, 35, 10, 12)), scores=(0.4, 0.7, 0.1), mm_per_px=0.5)])
    (defect,) = instances(decided)
    assert (defect.length_mm, defect.width_mm, defect.orientation_deg) == pytest.approx((30.0, 1.0, 0.0))
    assert [name for name, _ in defect.class_scores] == ["inclusion", "scratches", "water"]
    assert defect.class_scores[0][1] == pytest.approx(defect.confidence) == pytest.approx(0.7)
    assert (defect.part_of, defect.contrast) == (None, None)


def test_a_defect_without_end_is_closed_in_parts_that_name_the_first():
    decided = run(cut_strip(paint(95, 30, (5, 90, 10, 12)), [10] * 9), replace(RULES, part_mm=20.0))
    closed = [e.defect for e in events(decided) if e.state is CLOSED]
    assert [d.box.along_mm for d in closed] == [(5.0, 30.0), (30.0, 50.0), (50.0, 70.0), (70.0, 90.0)]
    assert [d.part_of for d in closed] == [None, *["C1/top/cam1/5.10"] * 3]
    assert len({d.id for d in closed}) == 4
    assert [d.frames for d in closed] == [3, 2, 2, 2]


@pytest.mark.slow
@given(
    strips(), st.lists(st.integers(1, 20), max_size=8), st.sampled_from([0.0, 2.5]), st.sampled_from([1.0, 4.0, 15.0])
)
def test_parts_lose_no_pixel_and_live_as_whole_defects_do(probability, heights, gap_mm, part_mm):
    decided = run(cut_strip(probability, heights), replace(RULES, merge_gap_mm=gap_mm, part_mm=part_mm))
    seen, lives = np.zeros(probability.shape, int), {}
    for event in events(decided):
        lives.setdefault(event.defect.id, []).append(event)
        if event.mask is not None:
            part = seen[event.mask.first_line :]
            part += to_mask(event.mask.runs, *part.shape)
    assert np.array_equal(seen, probability > 0)
    assert sum(d.area_mm2 for d in instances(decided)) == seen.sum()
    for one in lives.values():
        assert [event.state for event in one] == [OPENED, *[UPDATED] * (len(one) - 2), CLOSED]
        assert one[-1].defect.part_of is None or one[-1].defect.part_of in lives


def test_two_legs_of_a_u_become_the_older_one():
    u = paint(30, 30, (2, 25, 4, 6), (6, 25, 20, 22), (22, 25, 4, 22))
    decided = run(cut_strip(u, [10, 10]))
    assert life(decided) == [
        (OPENED, "2.4", None),
        (OPENED, "6.20", None),
        (UPDATED, "2.4", None),
        (UPDATED, "6.20", None),
        (UPDATED, "2.4", None),
        (CLOSED, "6.20", "2.4"),
        (CLOSED, "2.4", None),
    ]
    assert len(instances(decided)) == 1


def test_a_stem_that_forks_stays_one():
    fork = paint(30, 30, (2, 12, 10, 14), (8, 12, 4, 20), (10, 28, 4, 6), (10, 26, 18, 20))
    decided = run(cut_strip(fork, [10, 10]))
    assert {name for _, name, _ in life(decided)} == {"2.10"}
    assert [d.box for d in instances(decided)] == [StripBox((4.0, 20.0), (2.0, 28.0))]


@pytest.mark.parametrize(("gap_mm", "count"), [(0.0, 2), (1.9, 2), (2.0, 1)])
@pytest.mark.parametrize("border", [10, 11, 12, 13])
def test_the_merge_gap_reaches_over_a_frame_border(gap_mm, count, border):
    strip = paint(24, 20, (4, 10, 5, 8), (12, 20, 5, 8))
    decided = run(cut_strip(strip, [border], mm_per_line=1.0), replace(RULES, merge_gap_mm=gap_mm))
    assert len(instances(decided)) == count


def test_the_merge_gap_is_the_same_length_across_as_along():
    strip = paint(24, 40, (4, 8, 5, 8), (4, 8, 12, 15), (9, 12, 30, 33), (14, 16, 30, 33))
    rules = replace(RULES, merge_gap_mm=2.0)  # 4 px of 0.5 mm across, 2 lines of 1 mm along
    assert len(instances(run([predict(strip, mm_per_px=0.5, mm_per_line=1.0)], rules))) == 2


def test_two_halves_that_are_small_alone_count_together():
    strip = paint(20, 20, (9, 11, 5, 8))
    rules = replace(RULES, min_area_mm2=6.0)
    decided = run(cut_strip(strip, [10]), rules)
    assert life(decided) == [(OPENED, "9.5", None), (CLOSED, "9.5", None)]
    assert instances(decided)[0].area_mm2 == 6.0
    assert instances(run(cut_strip(strip, [10]), replace(RULES, min_area_mm2=6.1))) == []


def test_the_oldest_published_id_survives():
    strip = paint(20, 20, (8, 13, 5, 6), (9, 13, 10, 16), (12, 13, 5, 16))
    decided = run(cut_strip(strip, [10]), replace(RULES, min_area_mm2=5.0))
    assert life(decided) == [(OPENED, "9.10", None), (UPDATED, "9.10", None), (CLOSED, "9.10", None)]
    assert instances(decided)[0].area_mm2 == (strip > 0).sum()


@pytest.mark.parametrize(("gap_mm", "mm", "reach"), [(0.0, 0.5, 1), (0.3, 0.1, 4), (2.0, 0.5, 5), (1.9, 0.5, 4)])
def test_reach_counts_the_blank_pixels_that_fit_the_gap(gap_mm, mm, reach):
    assert replace(RULES, merge_gap_mm=gap_mm).reach(mm) == reach


@pytest.mark.parametrize("gap_mm", [0.0, 30.0])
@pytest.mark.parametrize(
    "fault",
    [
        {"valid_lines": 6, "fault": Cause.TRUNCATED},
        {"valid_lines": 0, "fault": Cause.BLACK},
        {"failed": Cause.ENGINE},
        {"degraded": Cause.OVERLOAD},
    ],
)
def test_strip_that_nobody_looked_at_ends_what_was_open(fault, gap_mm):
    scratch = paint(10, 20, (0, 10, 5, 7))
    frames = [
        predict(scratch),
        predict(scratch, first_line=10, ordinal=1, **fault),
        predict(scratch, first_line=20, ordinal=2),
    ]
    decided = run(frames, replace(RULES, merge_gap_mm=gap_mm))
    assert [d.id.rsplit("/", 1)[1] for d in instances(decided)] == ["0.5", "20.5"]
    assert [e.state for e in verdicts(decided)[0].defects] == [OPENED]
    assert verdicts(decided)[1].defects[-1].state is CLOSED


def test_a_jump_in_lines_ends_what_was_open():
    scratch = paint(10, 20, (0, 10, 5, 7))
    decided = run([predict(scratch), predict(scratch, first_line=11, ordinal=1)], replace(RULES, merge_gap_mm=30.0))
    assert len(instances(decided)) == 2


def test_only_pixels_on_the_strip_and_the_valid_lines_count():
    probability = paint(20, 40, (0, 20, 0, 40))
    decided = run([predict(probability, edges=StripEdges(8, 30, True, False), valid_lines=12, fault=Cause.TRUNCATED)])
    (defect,) = instances(decided)
    assert defect.box == StripBox((8.0, 30.0), (0.0, 12.0))
    assert defect.edge_mm == 0.0


def test_the_edge_distance_is_from_the_nearest_edge_that_was_seen():
    strip = paint(10, 40, (3, 5, 20, 24))
    assert instances(run([predict(strip, edges=StripEdges(4, 30, True, True))]))[0].edge_mm == 6.0
    assert instances(run([predict(strip, edges=StripEdges(4, 30, True, False))]))[0].edge_mm == 16.0
    assert instances(run([predict(strip, edges=StripEdges(4, 30, False, False))]))[0].edge_mm is None


def test_a_defect_in_the_overlap_of_two_tiles_is_one():
    strip = paint(16, 28, (4, 8, 13, 15))
    decided = run([predict(strip, tile_width=16)])
    (defect,) = instances(decided)
    assert defect.area_mm2 == 8.0


def test_the_class_is_the_one_with_the_highest_area_weighted_score():
    # Tiles 0..16 and 16..32: ten columns in the first, four in the second.
    strip = paint(16, 32, (4, 6, 6, 20))
    scores = {0: (0.9, 0.0, 0.0), 1: (0.0, 0.98, 0.0)}
    (defect,) = instances(run([predict(strip, tile_width=16, scores=scores)]))
    assert defect.defect_class == "scratches"
    assert defect.confidence == pytest.approx(0.9 * 10 / 14)


def test_a_claimed_class_beats_a_higher_score_below_its_threshold_and_a_pseudo_defect():
    strip = paint(16, 16, (4, 6, 6, 10))
    rules = replace(RULES, class_thresholds={"scratches": 0.9, "inclusion": 0.3, "water": 0.3})
    assert instances(run([predict(strip, scores=(0.8, 0.4, 0.0))], rules))[0].defect_class == "inclusion"
    assert instances(run([predict(strip, scores=(0.8, 0.4, 0.6))], rules))[0].defect_class == "inclusion"
    assert instances(run([predict(strip, scores=(0.8, 0.1, 0.6))], rules))[0].defect_class == "water"
    assert instances(run([predict(strip, scores=(0.8, 0.1, 0.2))], rules))[0].defect_class == "scratches"


def test_a_class_that_a_tile_claims_without_an_outline_is_the_tile_on_the_strip():
    blank = paint(16, 48, (2, 4, 6, 9), value=90)
    prediction = predict(
        blank,
        tile_width=16,
        scores={0: (0.7, 0.0, 0.0), 2: (0.0, 0.49, 0.0)},
        edges=StripEdges(4, 48, True, True),
        valid_lines=12,
        fault=Cause.TRUNCATED,
    )
    (defect,) = instances(run([prediction]))
    assert (defect.extent, defect.defect_class) == (Extent.TILE, "scratches")
    assert defect.confidence == pytest.approx(0.7)
    assert defect.box == StripBox((4.0, 16.0), (0.0, 12.0))
    assert defect.area_mm2 == 144.0
    assert defect.peak == pytest.approx(90 / 255)


def test_a_tile_with_an_outline_makes_no_second_defect():
    strip = paint(16, 16, (4, 8, 4, 8))
    decided = run([predict(strip, scores=(0.9, 0.8, 0.0))])
    assert [d.extent for d in instances(decided)] == [Extent.MASK]


@pytest.mark.parametrize(("depth", "found"), [(Depth.SCREENED, 0), (Depth.CLASSIFIED, 1), (Depth.SEGMENTED, 0)])
def test_a_class_that_wants_an_outline_is_its_tile_where_a_frame_was_classified_only(depth, found):
    prediction = replace(
        predict(paint(16, 16), scores=(0.7, 0.0, 0.0)),
        depth=depth,
        degraded=None if depth is Depth.SEGMENTED else Cause.OVERLOAD,
    )
    decided = run([prediction], replace(RULES, outlined_classes=frozenset({"scratches"})))
    assert [(d.extent, d.defect_class) for d in instances(decided)] == [(Extent.TILE, "scratches")] * found


def test_neighbouring_tiles_of_one_class_are_one_defect_and_of_two_classes_two():
    blank = paint(16, 28)  # tiles at 0 and 12 overlap
    same = run([predict(blank, tile_width=16, scores=(0.9, 0.0, 0.0))])
    assert [(d.box.across_mm, d.area_mm2) for d in instances(same)] == [((0.0, 28.0), 448.0)]
    two = run([predict(blank, tile_width=16, scores={0: (0.9, 0.0, 0.0), 1: (0.0, 0.9, 0.0)})])
    assert [d.defect_class for d in instances(two)] == ["scratches", "inclusion"]


def test_a_tile_joins_the_outlined_defect_of_its_class_beside_it():
    strip = paint(16, 32, (4, 8, 12, 16))
    one = run([predict(strip, tile_width=16, scores=(0.9, 0.0, 0.0))])
    assert [(d.extent, d.area_mm2) for d in instances(one)] == [(Extent.TILE, 16.0 + 256.0)]
    two = run([predict(strip, tile_width=16, scores={0: (0.9, 0.0, 0.0), 1: (0.0, 0.9, 0.0)})])
    assert [d.extent for d in instances(two)] == [Extent.MASK, Extent.TILE]


def test_a_tile_goes_on_in_the_next_frame_only_in_its_class():
    blank = paint(16, 16)
    frames = [
        predict(blank, ordinal=i, first_line=16 * i, scores=s)
        for i, s in enumerate([(0.9, 0, 0), (0.8, 0, 0), (0, 0.9, 0)])
    ]
    first, second = instances(run(frames))
    assert (first.defect_class, first.box.along_mm, first.frames) == ("scratches", (0.0, 32.0), 2)
    assert (second.defect_class, second.box.along_mm) == ("inclusion", (32.0, 48.0))


def test_two_tiles_cut_to_the_same_sliver_have_different_ids():
    blank = paint(16, 28)
    prediction = predict(
        blank, tile_width=16, scores={0: (0.9, 0, 0), 1: (0, 0.9, 0)}, edges=StripEdges(14, 28, True, True)
    )
    assert len({d.id for d in instances(run([prediction]))}) == 2


def test_a_frame_gone_wild_is_bounded_and_hides_nothing(monkeypatch):
    monkeypatch.setattr(pieces, "MAX_PIECES", 10)
    specks = paint(64, 64)
    specks[::4, ::4] = 255
    decided = run(cut_strip(specks, [16, 16, 16]))
    assert max(len(v.defects) for v in verdicts(decided)) <= 2 * 10 + 10
    assert sum(d.area_mm2 for d in instances(decided)) == (specks > 0).sum()


def test_an_endless_defect_does_not_grow_the_state():
    from linewatch.decision.decide import DecisionState, decide

    state, sizes = DecisionState.initial(), []
    stripe = paint(16, 64, (0, 16, 10, 12), (0, 16, 30, 50))
    stripe[3::7, 20:64] = 255
    for ordinal in range(60):
        state, _ = decide(state, predict(stripe, first_line=16 * ordinal, ordinal=ordinal), RULES)
        sizes.append([len(track.border) for track in state.coil.tracks])
    assert sizes[5] == sizes[-1]


def test_a_change_of_engines_ends_what_was_open():
    scratch = paint(10, 20, (0, 10, 5, 7))
    other = replace(
        predict(scratch, first_line=10, ordinal=1),
        classes=("scratches", "scale"),
        class_scores=np.array([[0.1, 0.9]], np.float32),
    )
    rules = replace(RULES, class_thresholds={**RULES.class_thresholds, "scale": 0.5})
    assert [d.defect_class for d in instances(run([predict(scratch), other], rules))] == ["scratches", "scale"]


def test_without_a_classifier_defects_are_unclassified():
    strip = paint(10, 20, (2, 5, 5, 7))
    plain = replace(predict(strip), classes=(), class_scores=np.zeros((1, 0), np.float32))
    (defect,) = instances(run([plain]))
    assert (defect.defect_class, defect.confidence) == ("unclassified", 0.0)
