"""Map, histograms and thumbnails show what is there, where it is, whatever the coil."""

import base64
import re
from collections.abc import Sequence
from typing import Self

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import record_of

from benchmarks.coil_file import defect
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Cause, Grab
from linewatch.contracts.verdict import CoverageSpan, Defect, Quality, StripBox
from linewatch.geometry.runs import rectangle
from linewatch.review.report.axes import round_step, ticks
from linewatch.review.report.histogram import HEIGHT_PX, histogram
from linewatch.review.report.marks import SHAPES, MarkedDefects, shape
from linewatch.review.report.strip_map import LEFT_PX, MARKS_AT_MOST, PLOT_PX, StripMap, strip_map
from linewatch.review.report.thumbnail import LARGEST_MM, cut_out, thumbnails, window_of
from linewatch.review.severities import ClassSeverities, RatedDefects

NUMBER = re.compile(r"-?[\d.]+")
RECTANGLE = re.compile(r"M([\d.]+) ([\d.]+)H([\d.]+)V([\d.]+)H[\d.]+z")


def drawn(defects: Sequence[Defect], length_mm: float, spans: Sequence[CoverageSpan] = (), listed: int = 0) -> StripMap:
    record = record_of(defects, length_mm=length_mm, strip_mm=(0.0, 800.0), spans=tuple(spans))
    return strip_map(record, MarkedDefects.of(RatedDefects.of(record.defects, ClassSeverities())), listed)


def rectangles(path: str) -> list[tuple[float, float, float, float]]:
    return [tuple(float(part) for part in found) for found in RECTANGLE.findall(path)]  # type: ignore[misc]


@given(st.floats(1e-3, 1e9), st.integers(1, 200))
def test_steps_are_round_and_as_small_as_they_may_be(span: float, steps: int) -> None:
    step = round_step(span, steps)
    assert span / step <= steps * (1 + 1e-6)
    assert span / step * 2.5 > steps * (1 - 1e-6)
    assert f"{step:e}"[0] in "125"
    assert len(ticks(0.0, span, step)) <= steps + 1


def test_a_defect_is_marked_where_it_lies() -> None:
    found = drawn([defect("a", 24_990.0, 195.0)], 100_000.0, listed=1).rows[0]
    (one,) = found.listed
    assert one.number == 1
    assert one.x_px == pytest.approx(LEFT_PX + 0.25 * PLOT_PX)
    assert one.y_px == pytest.approx(12 + 170 * (195 + 5) / 800)
    (group,) = found.marks
    assert rectangles(group.extents) == []  # 20 mm are less than a mark on 100 m
    left, top = NUMBER.findall(group.marks)[:2]
    assert abs(float(left) - one.x_px) < 6
    assert abs(float(top) - one.y_px) < 6


def test_a_defect_larger_than_its_mark_is_drawn_in_its_true_size_over_rows() -> None:
    scratch = defect("a", 0.0, 0.0, box=StripBox((100.0, 110.0), (300_000.0, 500_000.0)))
    rows = drawn([scratch], 800_000.0, listed=1).rows
    assert len(rows) == 2
    (first,), (second,) = (rectangles(row.marks[0].extents) for row in rows)
    assert (first[0], first[2]) == pytest.approx((LEFT_PX + 0.75 * PLOT_PX, LEFT_PX + PLOT_PX), abs=0.1)
    assert (second[0], second[2]) == pytest.approx((LEFT_PX, LEFT_PX + 0.25 * PLOT_PX), abs=0.1)
    assert [len(row.listed) for row in rows] == [1, 0]


@given(
    st.lists(st.tuples(st.floats(-1e4, 3e6), st.floats(-100, 900), st.floats(0, 5e5)), max_size=20),
    st.floats(0, 3e6),
)
def test_every_mark_lies_in_the_drawing_and_rows_tile_the_length(
    places: list[tuple[float, float, float]], length_mm: float
) -> None:
    defects = [
        defect(f"d{n}", 0.0, 0.0, box=StripBox((across, across + 10), (along, along + length)))
        for n, (along, across, length) in enumerate(places)
    ]
    found = drawn(defects, length_mm, listed=5)
    assert sum(len(row.listed) for row in found.rows) == min(5, len(defects))
    for row in found.rows:
        assert LEFT_PX <= row.end_px <= found.width_px
        for one in row.listed:
            assert LEFT_PX <= one.x_px <= LEFT_PX + PLOT_PX + 1e-6
            assert 12 <= one.y_px <= row.bottom_px + 1e-6
        for group in row.marks:
            for left, top, right, bottom in rectangles(group.extents):
                assert 0 <= left <= right <= found.width_px
                assert 0 <= top <= bottom <= found.row_px
    assert len(found.rows) <= 8
    assert sum(row.end_px - LEFT_PX for row in found.rows[:-1]) == pytest.approx(PLOT_PX * (len(found.rows) - 1))


def test_too_many_to_tell_apart_become_a_density_and_the_worst_stay_marks() -> None:
    crowd = [defect(f"d{n}", 49_990.0, 395.0) for n in range(MARKS_AT_MOST)]
    alone = defect("alone", 90_000.0, 100.0, area_mm2=1000.0)
    found = drawn([*crowd, alone], 100_000.0, listed=1)
    row = found.rows[0]
    ((left, top, right, bottom),) = rectangles(row.density[-1])  # the darkest
    assert left - 0.1 <= LEFT_PX + 0.5 * PLOT_PX <= right + 0.1
    assert top <= 12 + 170 / 2 <= bottom
    assert len(rectangles(row.density[0])) == 1  # the one that is alone
    assert row.listed[0].x_px == pytest.approx(LEFT_PX + PLOT_PX * 90.01 / 100)
    assert found.marked < MARKS_AT_MOST
    assert sorted(found.shades_per_m2) == list(found.shades_per_m2)
    few = drawn(crowd, 100_000.0)
    assert few.shades_per_m2 == ()
    assert few.marked == MARKS_AT_MOST


def test_a_millimetre_that_was_missed_is_seen_on_two_kilometres() -> None:
    spans = [
        CoverageSpan(0, 999_999, (0.0, 999_999.0), Quality.INSPECTED, None),
        CoverageSpan(999_999, 1, (999_999.0, 1_000_000.0), Quality.MISSED, Cause.LOST),
        CoverageSpan(1_000_000, 1_000_000, (1_000_000.0, 2_000_000.0), Quality.DEGRADED, Cause.OVERLOAD),
    ]
    rows = drawn([], 2_000_000.0, spans).rows
    missed = [row for row in rows if row.missed]
    assert len(missed) == 1
    ((left, top, right, bottom),) = rectangles(missed[0].missed)
    assert right - left >= 1.4
    assert (top, bottom) == (12, missed[0].bottom_px)
    assert [bool(row.degraded) for row in rows] == [False, False, True, True, True]


def test_classes_are_told_apart_by_shape() -> None:
    assert len({shape(code, 10.0, 10.0, 3.0) for code in range(SHAPES)}) == SHAPES


@given(
    st.lists(st.tuples(st.floats(0, 1000), st.integers(0, 2)), min_size=1, max_size=60),
    st.integers(1, 80),
)
def test_the_bars_of_a_histogram_hold_every_defect_once(found: list[tuple[float, int]], bins: int) -> None:
    at_mm, codes = np.array([at for at, _ in found]), np.array([code for _, code in found])
    drawing = histogram(at_mm, codes, 3, 0.0, 1000.0, bins=bins, unit_mm=1.0)
    heights = [sum(bottom - top for _, top, _, bottom in rectangles(path)) for path in drawing.paths]
    scale = HEIGHT_PX / max(np.bincount((at_mm // drawing.bin_mm).astype(int).clip(max=int(999 // drawing.bin_mm))))
    bars = sum(len(rectangles(path)) for path in drawing.paths)
    assert heights == pytest.approx(np.bincount(codes, minlength=3) * scale, abs=0.11 * bars)


def test_a_mask_is_drawn_in_its_box_and_a_defect_without_one_as_its_box() -> None:
    one, bare = defect("a", 1000.0, 200.0), defect("b", 1000.0, 200.0)
    record = record_of(masks={"a": [rectangle(400, 1000, 420, 1020)]})
    masked, boxed = thumbnails(record, [one, bare])
    assert (masked.exact, boxed.exact) == (True, False)
    for drawing in (masked, boxed):
        along, across = drawing.window.along_mm[0], drawing.window.across_mm[0]
        numbers = np.array([[float(x), float(y)] for x, y in re.findall(r"([\d.]+) ([\d.]+)", drawing.outline)])
        assert numbers[:, 0].min() + along == pytest.approx(1000.0, abs=0.3)
        assert numbers[:, 1].min() + across == pytest.approx(200.0, abs=0.3)
        assert drawing.size_mm[0] == pytest.approx(1.6 * drawing.size_mm[1])
    corners = np.array([[float(x), float(y)] for x, y in re.findall(r"([\d.]+) ([\d.]+)", masked.outline)])
    assert np.ptp(corners, axis=0) == pytest.approx([20.0, 10.0], abs=0.5)


def test_of_a_long_defect_the_beginning_is_shown() -> None:
    lines = np.arange(30_000)
    runs = np.stack([lines, np.full_like(lines, 400), np.full_like(lines, 406)], axis=1)
    one = defect("a", 0.0, 0.0, box=StripBox((200.0, 203.0), (5_000.0, 35_000.0)))
    record = record_of(masks={"a": [runs[:9_000], runs[9_000:]]})
    (drawing,) = thumbnails(record, [one])
    assert drawing.cut
    assert drawing.exact
    begin, end = drawing.window.along_mm
    assert begin < 5_000.0 < end
    assert end - begin == LARGEST_MM
    assert len(drawing.outline) < 2_000


class Frames:
    """Two frames of 400 lines, 1 mm a line, 0.5 mm a pixel; one bright spot on black steel."""

    live = False
    serial = ""
    grabs: int | None = 2

    def __init__(self, coil: str = "C1") -> None:
        self._coil, self._next = coil, 0

    def read(self) -> Grab | None:
        number, self._next = self._next, self._next + 1
        if number > 1:
            return None
        image = np.zeros((400, 1600), np.uint8)
        if number == 1:
            image[100:140, 600:640] = 255  # along 500..540 mm, across 300..320 mm
        return Grab(image, self._coil, number, 400 * number, 400, 0, 400.0 * number, 1.0, 0)

    def stop(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


def test_the_steel_is_cut_from_where_the_defect_lies() -> None:
    box = StripBox((300.0, 320.0), (500.0, 540.0))
    beside = StripBox((0.0, 10.0), (380.0, 420.0))  # over the border of two frames, and over the side of the picture
    beyond = StripBox((0.0, 10.0), (5_000.0, 5_010.0))
    windows = [window_of(one) for one in (box, beside, beyond)]
    spot, border, nothing = cut_out(Frames(), LineSettings(), "C1", windows)
    assert nothing is None
    assert spot is not None
    assert border is not None
    picture = decoded(spot)
    bright = np.argwhere(picture > 128)
    height, width = picture.shape
    (begin, end), (left, right) = windows[0].along_mm, windows[0].across_mm
    assert begin + bright[:, 1].min() / width * (end - begin) == pytest.approx(500.0, abs=0.6)
    assert begin + (bright[:, 1].max() + 1) / width * (end - begin) == pytest.approx(540.0, abs=0.6)
    assert left + bright[:, 0].min() / height * (right - left) == pytest.approx(300.0, abs=0.6)
    dark = (decoded(border) < 64).all(0)
    assert not dark.any()  # above the steel's side nothing was seen: gray
    assert (decoded(border)[-20:] < 64).all()


def decoded(uri: str) -> np.ndarray:
    head, data = uri.split(",")
    assert head == "data:image/jpeg;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_GRAYSCALE)


def test_a_recording_of_another_coil_is_refused() -> None:
    with pytest.raises(SourceError, match="shows 'C2', not coil 'C1'; give the recording that was replayed"):
        cut_out(Frames("C2"), LineSettings(), "C1", [window_of(StripBox((0.0, 1.0), (0.0, 1.0)))])
