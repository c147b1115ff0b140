"""Ranges one after the other."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from linewatch.geometry.ranges import ranges


@given(st.lists(st.tuples(st.integers(-100, 100), st.integers(0, 20))))
def test_ranges_are_those_of_python(pairs):
    begins, lengths = np.array(pairs, np.int64).reshape(-1, 2).T
    assert ranges(begins, lengths).tolist() == [i for begin, length in pairs for i in range(begin, begin + length)]
