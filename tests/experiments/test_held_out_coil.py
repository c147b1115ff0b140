"""Where the instances of a coil are."""

import pytest

from experiments.held_out_coil import PositionError
from linewatch.contracts.verdict import StripBox


def box(across: float, along: float, width: float = 10.0, length: float = 20.0) -> StripBox:
    return StripBox((across, across + width), (along, along + length))


def test_a_position_error_is_between_the_middles():
    pairs = [(box(100 + error, 500 - 2 * error), box(100, 500)) for error in (0.0, 1.0, 3.0)]
    assert PositionError.of(pairs) == PositionError(
        3, pytest.approx(2.0), pytest.approx(5.6), pytest.approx(1.0), pytest.approx(2.8)
    )


def test_without_a_pair_there_is_no_error():
    assert PositionError.of([]) == PositionError(0, None, None, None, None)
