"""The frame ring: a slot has one holder, and a waiting thread wakes when a slot is released."""

import threading

import pytest

from linewatch.capture.ring import FrameRing


def test_every_slot_is_given_once_and_then_none() -> None:
    ring = FrameRing(3, 4, 8)
    assert {ring.acquire() for _ in range(3)} == {0, 1, 2}
    assert ring.free == 0
    assert ring.acquire() is None
    assert ring.acquire(0.01) is None
    assert not ring.wait_free(0.01)


def test_released_slot_can_be_taken_again() -> None:
    ring = FrameRing(1, 4, 8)
    slot = ring.acquire()
    assert slot == 0
    ring.release(slot)
    assert ring.wait_free(0)
    assert ring.free == 1
    assert ring.acquire() == slot


@pytest.mark.parametrize("slot", [0, 2, -1])
def test_release_of_a_slot_that_nobody_holds_is_an_error(slot: int) -> None:
    ring = FrameRing(2, 4, 8)
    with pytest.raises(ValueError, match="not held"):
        ring.release(slot)


def test_double_release_is_an_error() -> None:
    ring = FrameRing(2, 4, 8)
    slot = ring.acquire()
    assert slot is not None
    ring.release(slot)
    with pytest.raises(ValueError, match="not held"):
        ring.release(slot)


def test_waiter_wakes_when_a_slot_comes_free() -> None:
    ring = FrameRing(1, 4, 8)
    assert ring.acquire() == 0
    got: list[int | None] = []
    waiter = threading.Thread(target=lambda: got.append(ring.acquire(30)))
    waiter.start()
    ring.release(0)
    waiter.join(30)
    assert got == [0]


def test_slots_are_never_held_twice_under_contention() -> None:
    ring = FrameRing(4, 1, 1)
    held = [threading.Lock() for _ in range(4)]
    clashes: list[int] = []

    def work() -> None:
        for _ in range(500):
            slot = ring.acquire(30)
            assert slot is not None
            if not held[slot].acquire(blocking=False):
                clashes.append(slot)
                continue
            held[slot].release()
            ring.release(slot)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not clashes
    assert ring.free == 4


def test_slots_do_not_overlap() -> None:
    ring = FrameRing(3, 2, 2)
    for slot in range(3):
        ring.pixels(slot)[:] = slot + 1
    assert [int(ring.pixels(slot).min()) for slot in range(3)] == [1, 2, 3]
