"""The simulator as a camera: a replay gives all grabs, live gives those that are read in time."""

import threading

import numpy as np
import pytest

from linewatch.capture.clock import MonotonicClock
from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Grab
from linewatch.simulation.camera import BUFFER_GRABS, SimulatorCamera
from linewatch.simulation.encoder import SpeedProfile
from linewatch.simulation.strip import SimulatedStrip

LINE = LineSettings(width_px=64, frame_lines=100, mm_per_line=1.0)


class HandClock:
    """A clock that a test sets; waiting sets it to the deadline."""

    def __init__(self) -> None:
        self.time_ns = 5_000_000

    def now_ns(self) -> int:
        return self.time_ns

    def wait_until_ns(self, deadline_ns: int, stop: threading.Event | None = None) -> bool:
        if stop is not None and stop.is_set():
            return False
        self.time_ns = max(self.time_ns, deadline_ns)
        return True


@pytest.fixture(scope="module")
def strip() -> SimulatedStrip:
    return SimulatedStrip(2, 1.95, 3, LINE)


def simulator(
    strip: SimulatedStrip, clock: HandClock | MonotonicClock, live: bool, speed: float = 1000.0
) -> SimulatorCamera:
    return SimulatorCamera(strip, SpeedProfile.steady(1950, speed), clock, "SIM-2", live)


def read_all(camera: SimulatorCamera) -> list[Grab]:
    return list(iter(camera.read, None))


def test_replay_gives_the_whole_strip_in_order(strip: SimulatedStrip) -> None:
    camera = simulator(strip, HandClock(), live=False)
    got = read_all(camera)
    assert camera.grabs == len(got) == 20
    assert np.array_equal(np.vstack([grab.image for grab in got]), strip.lines(0, 1950))  # type: ignore[misc]
    assert [grab.first_line for grab in got] == [100 * number for number in range(20)]
    assert [grab.lines for grab in got] == [100] * 19 + [50]
    assert [grab.encoder_count for grab in got][:3] == [0, 400, 800]
    assert [grab.captured_ns for grab in got][:2] == [100_000_000, 200_000_000]
    assert got[-1].captured_ns == 1_950_000_000
    assert all(grab.encoded and grab.coil == "SIM-2" for grab in got)


def test_live_waits_for_the_strip(strip: SimulatedStrip) -> None:
    clock = HandClock()
    got = read_all(simulator(strip, clock, live=True))
    assert len(got) == 20
    assert [grab.captured_ns for grab in got][:2] == [105_000_000, 205_000_000]
    assert clock.time_ns == 5_000_000 + 1_950_000_000


def test_live_loses_what_is_not_read_in_time(strip: SimulatedStrip) -> None:
    """After a reader has missed eighteen grabs, the camera still holds the last few; the sequence jumps."""
    clock = HandClock()
    camera = simulator(strip, clock, live=True)
    assert camera.read() is not None
    clock.time_ns += 1_800_000_000
    later = read_all(camera)
    assert later[0].sequence == 19 - BUFFER_GRABS
    assert later[0].first_line == later[0].sequence * 100
    assert np.array_equal(later[0].image, strip.lines(later[0].first_line, 100))  # type: ignore[arg-type]
    assert [grab.sequence for grab in later] == list(range(19 - BUFFER_GRABS, 20))


def test_stop_wakes_a_reader_that_waits(strip: SimulatedStrip) -> None:
    camera = simulator(strip, MonotonicClock(), live=True, speed=0.001)
    got: list[Grab | None] = [None]
    reader = threading.Thread(target=lambda: got.append(camera.read()))
    reader.start()
    camera.stop()
    reader.join(30)
    assert not reader.is_alive()
    assert got[-1] is None


def test_stopped_camera_gives_no_more(strip: SimulatedStrip) -> None:
    with simulator(strip, HandClock(), live=False) as camera:
        assert camera.read() is not None
        camera.stop()
        assert camera.read() is None
