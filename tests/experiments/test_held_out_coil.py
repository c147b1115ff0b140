"""Metrics of a coil's instances: where they are, and what they are called."""

import pytest

from experiments.held_out_coil import PieceCounts, PositionError, _by_class
from linewatch.contracts.verdict import StripBox
from linewatch.geometry.matching import match


def box(across: float, along: float, width: float = 10.0, length: float = 20.0) -> StripBox:
    return StripBox((across, across + width), (along, along + length))


def test_a_position_error_is_between_the_middles():
    pairs = [(box(100 + error, 500 - 2 * error), box(100, 500)) for error in (0.0, 1.0, 3.0)]
    assert PositionError.of(pairs) == PositionError(
        3, pytest.approx(2.0), pytest.approx(5.6), pytest.approx(1.0), pytest.approx(2.8)
    )


def test_without_a_pair_there_is_no_error():
    assert PositionError.of([]) == PositionError(0, None, None, None, None)


def test_a_call_is_right_on_a_piece_of_its_own_class_and_a_hit_on_any():
    true = [("scratch", box(0, 0)), ("scratch", box(100, 0)), ("sliver", box(200, 0))]
    found = [("scratch", box(1, 1)), ("sliver", box(101, 0)), ("scratch", box(400, 0))]
    matching = match([one for _, one in found], [one for _, one in true])
    assert _by_class(found, true, matching) == {
        "scratch": PieceCounts(true=2, hit=2, found=2, right=1),
        "sliver": PieceCounts(true=1, hit=0, found=1, right=0),
    }
