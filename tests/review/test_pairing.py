"""Two records of one strip: every defect has its place, whichever of the two is asked first."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linewatch.contracts.verdict import StripBox
from linewatch.geometry.outlines import UM_PER_MM, Outlines, overlaps
from linewatch.review.pairing import FoundDefect, Group, OutlinedDefects, pair_up

Rungs = list[tuple[int, int, int, int]]


def record(*defects: tuple[str, Rungs]) -> OutlinedDefects:
    """Of (class, rungs in mm: begin, end, left, right)."""
    found = []
    for number, (name, rungs) in enumerate(defects):
        begin, end, left, right = np.array(rungs).T
        box = StripBox((float(left.min()), float(right.max())), (float(begin.min()), float(end.max())))
        found.append(FoundDefect(f"{number}", name, 0.9, 0.9, float(((end - begin) * (right - left)).sum()), box))
    of = np.repeat(np.arange(len(defects)), [len(rungs) for _, rungs in defects]).astype(np.int64)
    rungs_um = np.array([rung for _, rungs in defects for rung in rungs], np.int64).reshape(-1, 4) * UM_PER_MM
    return OutlinedDefects(tuple(found), Outlines(len(defects), of, rungs_um))


@st.composite
def records(draw: st.DrawFn) -> OutlinedDefects:
    """Defects of a few rungs one behind the other, on little ground: many touch, some are the same."""
    defects = []
    for _ in range(draw(st.integers(0, 8))):
        begin, rungs = draw(st.integers(0, 40)), []
        for _ in range(draw(st.integers(1, 3))):
            end, left = begin + draw(st.integers(1, 16)), draw(st.integers(0, 30))
            rungs.append((begin, end, left, left + draw(st.integers(1, 20))))
            begin = end + draw(st.integers(0, 3))
        defects.append((draw(st.sampled_from(("scratch", "patches"))), rungs))
    return record(*defects)


def mirrored(groups: tuple[Group, ...]) -> set[tuple[tuple[int, ...], tuple[int, ...]]]:
    return {(group.b, group.a) for group in groups}


@pytest.mark.slow
@settings(max_examples=300)
@given(records(), records(), st.sampled_from((0.0, 1.0, 5.0)))
def test_the_other_way_round_it_is_the_same(a: OutlinedDefects, b: OutlinedDefects, tolerance_mm: float) -> None:
    groups = pair_up(a, b, tolerance_mm)
    assert mirrored(groups) == {(group.a, group.b) for group in pair_up(b, a, tolerance_mm)}
    for side, count in (("a", len(a.defects)), ("b", len(b.defects))):
        assert sorted(i for group in groups for i in getattr(group, side)) == list(range(count))


@pytest.mark.slow
@settings(max_examples=300)
@given(records(), st.sampled_from((0.0, 5.0)))
def test_a_record_is_like_itself(a: OutlinedDefects, tolerance_mm: float) -> None:
    assert pair_up(a, a, tolerance_mm) == tuple(Group((i,), (i,)) for i in range(len(a.defects)))


def test_a_defect_in_two_pieces_is_one_group_and_a_neighbour_is_not_in_it() -> None:
    whole = record(("scratch", [(0, 300, 100, 104)]))
    pieces = record(
        ("scratch", [(0, 180, 100, 104)]), ("scratch", [(200, 300, 100, 104)]), ("scratch", [(0, 300, 108, 112)])
    )
    assert pair_up(whole, pieces, 5.0) == (Group((0,), (0, 1)), Group((), (2,)))
    assert pair_up(pieces, whole, 5.0) == (Group((0, 1), (0,)), Group((2,), ()))


def test_what_lies_in_the_box_of_a_diagonal_scratch_but_not_on_it_is_lost() -> None:
    diagonal = [(n * 16, n * 16 + 16, n * 10, n * 10 + 8) for n in range(20)]
    a = record(("scratch", diagonal), ("inclusion", [(20, 40, 150, 170)]))
    b = record(("scratch", diagonal))
    assert pair_up(a, b, 5.0) == (Group((0,), (0,)), Group((1,), ()))


def test_of_two_that_lie_alike_each_finds_the_one_of_its_class() -> None:
    spot = [(0, 10, 0, 10)]
    a, b = record(("patches", spot), ("scratch", spot)), record(("scratch", spot), ("patches", spot))
    assert pair_up(a, b, 5.0) == (Group((0,), (1,)), Group((1,), (0,)))


@given(records(), records())
def test_shared_ground_is_what_counting_millimetres_gives(a: OutlinedDefects, b: OutlinedDefects) -> None:
    def grids(of: OutlinedDefects) -> np.ndarray:
        cells = np.zeros((len(of.defects), 110, 60), dtype=np.int64)
        for owner, (begin, end, left, right) in zip(of.outlines.of, of.outlines.rungs // UM_PER_MM, strict=True):
            cells[owner, begin:end, left:right] += 1
        return cells.reshape(len(of.defects), 110 * 60)

    expected = grids(a) @ grids(b).T * UM_PER_MM**2
    found = overlaps(a.outlines, b.outlines)
    assert sorted(zip(found.one, found.other, strict=True)) == [tuple(pair) for pair in np.argwhere(expected)]
    assert np.array_equal(found.shared, expected[found.one, found.other])


@given(records(), st.sampled_from((0.0, 3.0, 5.0)))
def test_grown_rungs_of_one_defect_still_do_not_overlap_along(a: OutlinedDefects, tolerance_mm: float) -> None:
    grown = a.outlines.grown(tolerance_mm)
    assert (grown.areas() >= a.outlines.areas()).all()
    for owner in range(grown.count):
        rungs = grown.rungs[grown.of == owner]
        assert (rungs[1:, 0] >= rungs[:-1, 1]).all()
