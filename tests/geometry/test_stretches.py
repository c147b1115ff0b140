"""The union of intervals covers what they cover, once; what is settled keeps its length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linewatch.geometry.stretches import Stretches, union

INTERVALS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda one: (one[0], one[0] + one[1])))


def array(intervals):
    return np.array(intervals, np.float64).reshape(-1, 2)


def covered(intervals):
    return {mm for begin, end in intervals for mm in range(int(begin), int(end))}


@given(INTERVALS)
def test_a_union_is_disjoint_ascending_and_covers_the_same(intervals):
    found = union(array(intervals))
    assert covered(found) == covered(intervals)
    assert (found[:, 1] > found[:, 0]).all()
    assert (found[1:, 0] > found[:-1, 1]).all()
    assert Stretches().add(array(intervals)).length_mm() == len(covered(intervals))
    assert np.array_equal(union(found), found)


@given(INTERVALS, INTERVALS, st.integers(0, 80))
def test_adding_in_parts_is_adding_at_once_and_length_is_cut_at_an_end(one, other, end):
    parts = Stretches().add(array(one)).add(array(other))
    assert np.array_equal(parts.kept, union(array([*one, *other])))
    assert parts.length_mm(end) == len([mm for mm in covered([*one, *other]) if mm < end])
    assert parts.length_mm() >= max(Stretches().add(array(part)).length_mm() for part in (one, other))


@given(INTERVALS, st.integers(1, 4))
def test_what_is_settled_keeps_its_length_and_does_not_count_again(intervals, most):
    whole = Stretches().add(array(intervals))
    settled = whole.settle(most)
    assert len(settled.kept) <= most
    assert settled.length_mm() == whole.length_mm()
    again = settled.add(whole.kept)
    assert again.length_mm() == whole.length_mm()
    assert settled.add(array([(200, 210)])).length_mm() == whole.length_mm() + 10


@pytest.mark.parametrize(("gap", "expected"), [(0.0, 2), (0.9, 2), (1.0, 1)])
def test_gaps_up_to_a_width_are_closed(gap, expected):
    assert len(union(array([(0, 5), (6, 9)]), gap)) == expected
