"""The batcher: batches are full or due, of the smallest rung; no tile is lost, repeated or copied twice."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from linewatch.contracts.manifest import Task
from linewatch.contracts.tile import Batch, Tile, TileRef
from linewatch.inference.batcher import Batcher

MS = 1_000_000
LADDER = (1, 2, 4, 8)


def _batcher(ladder: tuple[int, ...] = LADDER, task: Task = Task.CLASSIFY) -> Batcher:
    return Batcher(task, 4, 6, ladder, deadline_ms=5.0)


def _add(batcher: Batcher, number: int, now_ns: int = 0) -> tuple[Batch, ...]:
    ref = TileRef(number, 0, Tile(0, 0, 6, 4))
    return batcher.add(ref, np.full((4, 6), number % 256, np.uint8), now_ns)


def test_a_full_batch_leaves_at_once() -> None:
    batcher = _batcher()
    assert [_add(batcher, i) for i in range(7)] == [()] * 7
    (classify,) = _add(batcher, 7)
    assert classify.engine == Task.CLASSIFY
    assert classify.pixels.shape == (8, 1, 4, 6)
    assert [ref.ordinal for ref in classify.refs] == list(range(8))
    assert [row[0, 0, 0] for row in classify.pixels] == list(range(8))
    assert batcher.next_deadline_ns is None


def test_the_oldest_tile_waits_no_longer_than_the_deadline() -> None:
    batcher = _batcher()
    _add(batcher, 0, now_ns=10 * MS)
    _add(batcher, 1, now_ns=14 * MS)
    assert batcher.next_deadline_ns == 15 * MS
    assert batcher.due(15 * MS - 1) == ()
    (batch,) = batcher.due(15 * MS)
    assert len(batch.refs) == 2
    assert batcher.next_deadline_ns is None
    assert batcher.due(99 * MS) == ()


def test_a_late_batch_takes_the_smallest_rung_that_holds_it() -> None:
    for fill, rung in ((1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (7, 8)):
        batcher = _batcher()
        for i in range(fill):
            _add(batcher, i)
        (batch,) = batcher.flush()
        assert (len(batch.refs), len(batch.pixels)) == (fill, rung)
        assert batch.pixels.flags.c_contiguous


def test_one_rung_of_one_never_waits() -> None:
    batcher = _batcher(ladder=(1,))
    assert len(_add(batcher, 3)) == 1
    assert batcher.next_deadline_ns is None


def test_pixels_are_reused_only_after_their_batch_came_back() -> None:
    batcher = _batcher(ladder=(1,))
    (first,) = _add(batcher, 1)
    (second,), (third,) = _add(batcher, 2), _add(batcher, 3)
    assert not np.shares_memory(second.pixels, first.pixels)
    assert not np.shares_memory(third.pixels, first.pixels)
    assert first.pixels[0, 0, 0, 0] == 1
    batcher.recycle(first)
    _add(batcher, 4)
    (reused,) = _add(batcher, 5)
    assert np.shares_memory(reused.pixels, first.pixels)


def test_a_steady_state_allocates_no_pixels() -> None:
    batcher = _batcher(ladder=(1, 2))
    buffers = set()
    for i in range(200):
        for batch in _add(batcher, i):
            buffers.add(id(batch.pixels.base))
            batcher.recycle(batch)
    assert len(buffers) <= 2


@given(
    steps=st.lists(st.tuples(st.sampled_from(["add", "wait", "return", "flush"]), st.integers(0, 7)), max_size=80),
    ladder=st.sampled_from([(1,), (1, 2), (1, 2, 4, 8), (1, 3)]),
)
def test_every_tile_leaves_exactly_once_in_order_with_its_own_pixels(
    steps: list[tuple[str, int]], ladder: tuple[int, ...]
) -> None:
    """In any order of arrivals, deadlines and returns; a batch under way is never written to."""
    batcher, now_ns, fed, out = _batcher(ladder, Task.SCREEN), 0, 0, []
    waiting: list[Batch] = []
    for what, amount in [*steps, ("flush", 0)]:
        batches: tuple[Batch, ...] = ()
        if what == "add":
            batches = _add(batcher, fed, now_ns)
            fed += 1
        elif what == "wait":
            now_ns += amount * MS
            batches = batcher.due(now_ns)
            deadline_ns = batcher.next_deadline_ns
            assert deadline_ns is None or deadline_ns > now_ns
        elif what == "flush":
            batches = batcher.flush()
        elif waiting:
            batcher.recycle(waiting.pop(amount % len(waiting)))
        waiting += batches
        for batch in batches:
            out += [ref.ordinal for ref in batch.refs]
            assert len(batch.pixels) == min(rung for rung in ladder if rung >= len(batch.refs))
        for batch in waiting:
            assert [row[0, 0, 0] for row in batch.pixels[: len(batch.refs)]] == [r.ordinal % 256 for r in batch.refs]
    assert out == list(range(fed))
