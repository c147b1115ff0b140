"""The rendered strip is equal for equal seeds, however it is read, and its defects lie where the truth says."""

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError, SourceError
from linewatch.simulation.defects import DEFECTS
from linewatch.simulation.strip import CLASSES, SimulatedRollMark, SimulatedStrip
from linewatch.simulation.truth import CoilTruth

LINE = LineSettings(width_px=640, mm_per_px=0.5, mm_per_line=1.0)


@pytest.fixture(scope="module")
def strip() -> SimulatedStrip:
    return SimulatedStrip(seed=7, length_m=12.345, defects_per_m=5.0, line=LINE)


def digest(strip: SimulatedStrip, cuts: list[int]) -> str:
    pixels, masks = hashlib.sha256(), hashlib.sha256()
    for first, last in itertools.pairwise([0, *sorted(cuts), strip.total_lines]):
        pixels.update(strip.lines(first, last - first).tobytes())
        masks.update(strip.mask(first, last - first).tobytes())
    return pixels.hexdigest() + masks.hexdigest()


@pytest.fixture(scope="module")
def whole(strip: SimulatedStrip) -> str:
    return digest(strip, [])


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(cuts=st.lists(st.integers(1, 12_000), max_size=12, unique=True))
def test_strip_is_the_same_however_it_is_cut(whole: str, cuts: list[int]) -> None:
    again = SimulatedStrip(seed=7, length_m=12.345, defects_per_m=5.0, line=LINE)
    assert digest(again, cuts) == whole


def test_lines_can_be_read_in_any_order(strip: SimulatedStrip) -> None:
    late = strip.lines(12_000, 300)
    strip.lines(0, 300)
    assert np.array_equal(strip.lines(12_000, 300), late)


def test_other_seed_is_another_strip(strip: SimulatedStrip) -> None:
    other = SimulatedStrip(seed=8, length_m=12.345, defects_per_m=5.0, line=LINE)
    assert not np.array_equal(other.lines(0, 64), strip.lines(0, 64))
    assert other.truth("A").defects != strip.truth("A").defects


def test_no_two_frames_are_equal(strip: SimulatedStrip) -> None:
    frames = {strip.lines(first, 256).tobytes() for first in range(0, strip.total_lines - 256, 256)}
    assert len(frames) == (strip.total_lines - 1) // 256


def test_lines_beyond_the_strip_are_refused(strip: SimulatedStrip) -> None:
    assert len(strip.lines(strip.total_lines - 5, 5)) == 5
    with pytest.raises(ValueError, match="not on a strip of 12345 lines"):
        strip.lines(strip.total_lines - 5, 6)


def test_truth_and_mask_agree_pixel_for_pixel(strip: SimulatedStrip) -> None:
    """Every defect's box holds exactly its area of mask pixels of its class; no mask pixel lies outside the boxes."""
    mask = strip.mask(0, strip.total_lines)
    for defect in strip.truth("A").defects:
        (left, right), (top, bottom) = defect.box.across_mm, defect.box.along_mm
        window = mask[round(top) : round(bottom), round(left / 0.5) : round(right / 0.5)]
        assert window.any(axis=0)[[0, -1]].all()
        assert window.any(axis=1)[[0, -1]].all()
        assert set(np.unique(window)) <= {0, 1 + CLASSES.index(defect.defect_class)}
        assert np.count_nonzero(window) * 0.5 == pytest.approx(defect.area_mm2)
        window[:] = 0
    assert not mask.any()


def test_defects_are_seen_in_the_picture(strip: SimulatedStrip) -> None:
    """The strip with defects differs from the same strip without them inside the boxes, and nowhere else."""
    clean = SimulatedStrip(seed=7, length_m=12.345, defects_per_m=0.0, line=LINE)
    truth, empty = strip.truth("A"), clean.truth("A")
    assert empty.defects == ()
    difference = np.abs(strip.lines(0, 4096).astype(int) - clean.lines(0, 4096))
    boxes = [d.box for d in truth.defects if d.box.along_mm[1] <= 4096]
    assert len(boxes) >= 10
    for box in boxes:
        inside = (
            slice(round(box.along_mm[0]), round(box.along_mm[1])),
            slice(round(box.across_mm[0] * 2), round(box.across_mm[1] * 2)),
        )
        assert difference[inside].max() > 12


def test_defects_lie_clear_of_each_other_and_on_steel(strip: SimulatedStrip) -> None:
    boxes = [d.box for d in strip.truth("A").defects]
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            apart_across = max(other.across_mm[0] - one.across_mm[1], one.across_mm[0] - other.across_mm[1])
            apart_along = max(other.along_mm[0] - one.along_mm[1], one.along_mm[0] - other.along_mm[1])
            assert max(apart_across / 0.5, apart_along) >= 20
        first, count = round(one.along_mm[0]), round(one.along_mm[1] - one.along_mm[0])
        edges = strip.edges_px(first, count)
        assert edges[:, 0].max() < one.across_mm[0] / 0.5
        assert edges[:, 1].min() > one.across_mm[1] / 0.5


def test_every_class_occurs_and_some_defects_cross_frames_and_exceed_one() -> None:
    defects = SimulatedStrip(seed=7, length_m=100, defects_per_m=2.0, line=LineSettings()).truth("A").defects
    assert 180 <= len(defects) <= 200
    assert {d.defect_class for d in defects} == set(DEFECTS)
    spans = [d.box.along_mm for d in defects]
    assert any(last - first > 256 for first, last in spans)
    assert sum(int(first) // 256 != int(last) // 256 for first, last in spans) >= 20
    columns = [(d.box.across_mm[0] * 2, d.box.across_mm[1] * 2) for d in defects]
    assert sum(int(left) // 224 != int(right) // 224 for left, right in columns) >= 10


def test_beyond_the_edges_it_is_black_and_between_them_it_is_not(strip: SimulatedStrip) -> None:
    pixels = strip.lines(1000, 256)
    edges = strip.edges_px(1000, 256)
    assert np.ptp(edges[:, 0]) > 0
    for row, (left, right) in zip(pixels, edges, strict=True):
        assert max(row[: int(left)].max(), row[int(np.ceil(right)) + 1 :].max()) <= 10
        assert row[int(left) + 30 : int(right) - 30].mean() > 30


def test_across_offset_moves_the_truth() -> None:
    here = SimulatedStrip(3, 5, 4, LINE).truth("A").defects
    moved = SimulatedStrip(3, 5, 4, LINE.model_copy(update={"across_offset_mm": 100.0})).truth("A").defects
    assert [d.box.across_mm[0] + 100 for d in here] == pytest.approx([d.box.across_mm[0] for d in moved])


def test_narrow_short_strip_still_renders() -> None:
    strip = SimulatedStrip(1, 0.05, 50, LineSettings(width_px=32, frame_lines=16))
    assert strip.lines(0, 50).shape == (50, 32)
    strip.truth("A")


def test_truth_survives_its_file(strip: SimulatedStrip, tmp_path) -> None:
    truth = strip.truth("A-1")
    truth.write(tmp_path / "truth.json")
    assert CoilTruth.read(tmp_path / "truth.json") == truth


@pytest.mark.parametrize("content", [None, b"{}", b"not json", b"\xff\xfe"])
def test_unreadable_truth_is_one_clear_error(content: bytes | None, tmp_path) -> None:
    path = tmp_path / "truth.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match="linewatch simulate"):
        CoilTruth.read(path)


@pytest.fixture(scope="module")
def rolled() -> SimulatedStrip:
    return printed()


def printed() -> SimulatedStrip:
    mark = SimulatedRollMark(pitch_mm=700.0, across_mm=160.0, first_mm=500.0, jitter_mm=3.0, missed=0.2)
    other = SimulatedRollMark(pitch_mm=1000.0, across_mm=80.0, last_mm=8000.0, defect_class="inclusion")
    return SimulatedStrip(seed=7, length_m=12.345, defects_per_m=5.0, line=LINE, roll_marks=[mark, other])


@pytest.fixture(scope="module")
def whole_rolled(rolled: SimulatedStrip) -> str:
    return digest(rolled, [])


@pytest.mark.slow
@settings(max_examples=4, deadline=None)
@given(cuts=st.lists(st.integers(1, 12_000), max_size=12, unique=True))
def test_roll_marks_are_the_same_however_the_strip_is_cut(whole_rolled: str, cuts: list[int]) -> None:
    assert digest(printed(), cuts) == whole_rolled


def test_roll_marks_lie_where_the_roll_prints_them_and_are_in_the_truth(rolled: SimulatedStrip) -> None:
    truth = rolled.truth("A")
    one, other = truth.roll_marks
    assert (one.pitch_mm, one.across_mm, other.due) == (700.0, 160.0, 9)
    assert len(other.defect_ids) == 9
    assert 0.5 * one.due < len(one.defect_ids) < one.due
    for mark, first_mm in ((one, 500.0), (other, 0.0)):
        boxes = [truth.defects[i].box for i in mark.defect_ids]
        assert len({round(box.across_mm[0], 6) for box in boxes}) == 1
        assert len({round(box.along_mm[1] - box.along_mm[0], 6) for box in boxes}) == 1
        turns = [(box.along_mm[0] - first_mm) / mark.pitch_mm for box in boxes]
        assert max(abs(turn - round(turn)) for turn in turns) * mark.pitch_mm < 25
    mask = rolled.mask(0, rolled.total_lines)
    for defect in truth.defects:
        (left, right), (top, bottom) = defect.box.across_mm, defect.box.along_mm
        window = mask[round(top) : round(bottom), round(left / 0.5) : round(right / 0.5)]
        assert np.count_nonzero(window) * 0.5 == pytest.approx(defect.area_mm2)
        window[:] = 0
    assert not mask.any()


def test_a_roll_mark_beside_the_steel_is_refused() -> None:
    with pytest.raises(ConfigError, match="is not on this steel; expected"):
        SimulatedStrip(1, 5, 1, LINE, roll_marks=[SimulatedRollMark(pitch_mm=700.0, across_mm=900.0)])
