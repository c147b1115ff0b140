"""Recall and precision count instances, not pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linewatch.contracts.verdict import StripBox
from linewatch.geometry.matching import match


def box(left, right, begin, end):
    return StripBox((left, right), (begin, end))


@st.composite
def boxes(draw):
    left, begin = draw(st.integers(0, 30)), draw(st.integers(0, 30))
    return box(left, left + draw(st.integers(1, 9)), begin, begin + draw(st.integers(1, 9)))


def test_one_true_defect_hit_by_several_pieces_counts_once():
    result = match([box(0, 4, 0, 10), box(6, 10, 0, 10)], [box(0, 10, 0, 10), box(50, 60, 0, 10)])
    assert (result.hit, result.right) == ((0,), (0, 1))
    assert (result.recall, result.precision) == (0.5, 1.0)


def test_several_true_defects_under_one_found_box_are_all_found():
    result = match([box(0, 100, 0, 100), box(500, 510, 0, 10)], [box(0, 5, 0, 5), box(90, 95, 90, 95)])
    assert (result.recall, result.precision) == (1.0, 0.5)
    assert [(pair.found, pair.true, pair.overlap) for pair in result.pairs] == [(0, 0, 1.0), (0, 1, 1.0)]


def test_a_graze_is_no_match_but_touching_within_the_tolerance_is():
    found, true = [box(0, 10, 0, 10)], [box(9.5, 19.5, 0, 10)]
    assert match(found, true).hit == ()
    assert match(found, true, min_overlap=0.0).hit == (0,)
    assert match(found, true, tolerance_mm=2.0).hit == (0,)
    assert match(found, [box(10, 20, 0, 10)], min_overlap=0.0).hit == ()


def test_nothing_to_find_and_nothing_found_are_perfect():
    assert match([], []).recall == match([], []).precision == 1.0
    assert match([], [box(0, 1, 0, 1)]).recall == 0.0
    assert match([box(0, 1, 0, 1)], []).precision == 0.0


@given(st.lists(boxes(), max_size=6), st.lists(boxes(), max_size=6))
def test_recall_and_precision_are_each_other_seen_from_the_other_side(found, true):
    one, other = match(found, true), match(true, found)
    assert (one.recall, one.precision) == (other.precision, other.recall)
    assert {(pair.found, pair.true) for pair in one.pairs} == {(pair.true, pair.found) for pair in other.pairs}


@given(st.lists(boxes(), min_size=1, max_size=6))
def test_the_truth_matches_itself(true):
    result = match(true, true)
    assert result.recall == result.precision == 1.0
    assert all(pair.overlap == pytest.approx(1.0) for pair in result.pairs if pair.found == pair.true)
