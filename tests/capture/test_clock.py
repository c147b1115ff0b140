"""Pacing: grabs come when they are due, and stop() wakes a waiting reader."""

import threading

import numpy as np
import pytest
from numbered_strip import ListCamera

from linewatch.capture.clock import MonotonicClock, PacedCamera
from linewatch.contracts.frame import Grab


def taken_at(*taken_ns: int) -> ListCamera:
    return ListCamera([Grab(np.zeros((1, 1), np.uint8), "A", i, i, 1, i, 0.0, 1.0, t) for i, t in enumerate(taken_ns)])


class HandClock:
    def __init__(self) -> None:
        self.time_ns = 1_000

    def now_ns(self) -> int:
        return self.time_ns

    def wait_until_ns(self, deadline_ns: int, stop: threading.Event | None = None) -> bool:
        self.time_ns = max(self.time_ns, deadline_ns)
        return stop is None or not stop.is_set()


def test_line_rate_keeps_the_times_between_grabs() -> None:
    clock = HandClock()
    camera = PacedCamera(taken_at(700, 800, 1_000), clock, "line-rate")
    seen = [(grab.captured_ns, clock.now_ns()) for grab in iter(camera.read, None)]
    assert seen == [(1_000, 1_000), (1_100, 1_100), (1_300, 1_300)]


def test_late_reader_gets_every_grab_with_the_time_that_it_was_due() -> None:
    clock = HandClock()
    camera = PacedCamera(taken_at(0, 100, 200), clock, "line-rate")
    camera.read()
    clock.time_ns += 5_000
    assert [grab.captured_ns for grab in iter(camera.read, None)] == [1_100, 1_200]
    assert clock.now_ns() == 6_000


@pytest.mark.parametrize("step_ns", [-500, 3_600_000_000_000])
def test_time_that_jumps_between_two_recordings_is_no_pause(step_ns: int) -> None:
    clock = HandClock()
    camera = PacedCamera(taken_at(1_000, 1_000 + step_ns, 1_100 + step_ns), clock, "line-rate")
    assert [grab.captured_ns for grab in iter(camera.read, None)] == [1_000, 1_000, 1_100]


def test_max_waits_for_nothing() -> None:
    clock = HandClock()
    camera = PacedCamera(taken_at(0, 10**9, 10**12), clock, "max")
    assert [grab.captured_ns for grab in iter(camera.read, None)] == [1_000] * 3
    assert camera.grabs == 3


def test_closing_closes_the_camera_within() -> None:
    inner = taken_at(0)
    with PacedCamera(inner, HandClock(), "max"):
        pass
    assert inner.closed


def test_stop_wakes_a_reader_that_waits_for_a_far_grab() -> None:
    camera = PacedCamera(taken_at(0, 9_000_000_000), MonotonicClock(), "line-rate")
    assert camera.read() is not None
    got: list[Grab | None] = []
    reader = threading.Thread(target=lambda: got.append(camera.read()))
    reader.start()
    camera.stop()
    reader.join(30)
    assert not reader.is_alive()
    assert got == [None]


def test_monotonic_clock_waits_until_the_deadline() -> None:
    clock = MonotonicClock()
    deadline_ns = clock.now_ns() + 3_000_000
    assert clock.wait_until_ns(deadline_ns)
    assert clock.now_ns() >= deadline_ns
    assert clock.wait_until_ns(0)


def test_monotonic_clock_returns_at_once_when_stopped() -> None:
    stop = threading.Event()
    stop.set()
    assert not MonotonicClock().wait_until_ns(MonotonicClock().now_ns() + 10**12, stop)
