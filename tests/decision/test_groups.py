"""What touches, directly or over others, belongs together."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from linewatch.decision.defects.groups import connected, members


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_groups_are_what_can_be_reached_and_named_by_their_smallest(graph):
    count, pairs = graph
    reached = np.eye(count, dtype=bool)
    for one, other in pairs:
        reached[one, other] = reached[other, one] = True
    for through in range(count):
        reached |= reached[:, [through]] & reached[[through], :]
    ones, others = np.array(pairs, np.int64).reshape(-1, 2).T
    roots = connected(count, ones, others)
    assert roots.tolist() == reached.argmax(axis=1).tolist()
    assert members(roots) == [np.flatnonzero(reached[root]).tolist() for root in sorted(set(roots.tolist()))]


def test_nothing_has_no_groups():
    nothing = np.zeros(0, np.int64)
    assert members(connected(0, nothing, nothing)) == []
