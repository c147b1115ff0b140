"""A live camera that is lost is opened again for ever, and every line that passed meanwhile is in one frame."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered_strip import ListCamera, line_numbers, line_settings
from raw_grabs import RATE_HZ, admission, frames_of, grab, last_of
from structlog.testing import capture_logs
from waiting import PATIENCE_S, wait_until

from linewatch.capture.clock import MonotonicClock
from linewatch.capture.continuation import Continuation
from linewatch.capture.lasting import LastingCamera
from linewatch.capture.position.encoder_triggered import EncoderTriggeredCamera
from linewatch.config.line import LineSettings
from linewatch.contracts.camera import CameraState
from linewatch.contracts.errors import ConfigError, SourceError
from linewatch.contracts.frame import Cause, Frame, Grab
from linewatch.contracts.ports import Camera
from linewatch.contracts.restart import GapMeasure

FREE = LineSettings(width_px=32, frame_lines=16, mm_per_line=1.0, line_rate_hz=RATE_HZ)


def continued(lives: Sequence[Sequence[Grab]], line: LineSettings, within_s: float = 300.0) -> list[Grab]:
    """Return the grabs of a camera that was opened once for each list, each time with an odometer of its own."""
    strip, told = Continuation(line, within_s), []
    for life in lives:
        camera: Camera = ListCamera(life)
        if line.encoder is not None:
            camera = EncoderTriggeredCamera(camera, line)
        for number, one in enumerate(iter(camera.read, None)):
            told += (strip.follow(one),) if number else strip.return_with(one, None)
    return told


def admitted(grabs: Sequence[Grab], line: LineSettings) -> list[Frame]:
    intake = admission(line)
    return [frame for one in grabs for frame in intake.admit(one)]


@settings(max_examples=60, deadline=None)
@given(
    before=st.integers(1, 12),
    away=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 5)), min_size=1, max_size=3),
    counts_up=st.booleans(),
    counter_at=st.integers(0, (1 << 24) - 1),
)
def test_by_the_encoder_every_line_is_once_at_its_place(
    before: int, away: list[tuple[int, int]], counts_up: bool, counter_at: int
) -> None:
    """The camera is lost again and again; the counter goes on, and may roll over meanwhile."""
    line = line_settings(bits=24, counts_up=counts_up)
    lives, at = [[grab(n, line, counter_at=counter_at) for n in range(before)]], before
    for lost, given_again in away:
        at += lost
        lives.append([replace(grab(at + n, line, counter_at=counter_at), sequence=n) for n in range(given_again)])
        at += given_again
    frames, reached = admitted(continued(lives, line), line), 0
    for frame in frames:
        assert (frame.first_line, frame.along_mm, frame.coil) == (reached, float(reached), "A")
        if frame.pixels is None:
            assert (frame.fault, frame.gap and frame.gap.by) == (Cause.CAMERA, GapMeasure.ENCODER)
        else:
            assert line_numbers(frame.pixels[: frame.valid_lines]) == list(range(reached, reached + frame.lines))
        reached += frame.lines
    assert reached == at * line.frame_lines
    assert [frame.sequence for frame in frames] == sorted({frame.sequence for frame in frames})
    notes = [frame.gap.note(frame.along_mm) for frame in frames if frame.gap is not None]
    assert len(notes) == len(away)
    assert all(note.startswith("camera away at ") for note in notes)


def free(number: int, at_s: float) -> Grab:
    """Return a grab of a camera without an encoder that was opened at `at_s`."""
    first, lines = number * FREE.frame_lines, FREE.frame_lines
    taken_ns = round((at_s + (first + lines) / RATE_HZ) * 1e9)
    pixels = np.full((lines, FREE.width_px), 90 + number % 2, np.uint8)
    return Grab(pixels, "A", number, first, lines, first, float(first), 1.0, taken_ns, encoded=False)


def test_without_an_encoder_the_clock_tells_how_much_passed_and_says_so() -> None:
    lives = [[free(n, 100.0) for n in range(4)], [free(n, 102.0) for n in range(3)]]
    frames = admitted(continued(lives, FREE), FREE)
    passed = round(2 * RATE_HZ) - 4 * FREE.frame_lines
    assert [(frame.first_line, frame.lines, frame.fault) for frame in frames[3:6]] == [
        (48, 16, None),
        (64, passed, Cause.CAMERA),
        (64 + passed, 16, None),
    ]
    gap = frames[4].gap
    assert gap is not None
    assert gap.note(
        64.0
    ) == f"camera away at 0.06 m: no inspection for 2.0 s; {passed / 1000:.2f} m of strip passed " + (
        "unseen (by clock and line rate)"
    )


def test_after_too_long_a_time_the_clock_tells_nothing_and_another_passage_begins() -> None:
    frames = admitted(continued([[free(n, 0.0) for n in range(4)], [free(n, 9e3) for n in range(2)]], FREE), FREE)
    assert [(frame.first_line, frame.fault) for frame in frames[3:]] == [(48, None), (0, None), (16, None)]
    gap = frames[4].gap
    assert gap is not None
    assert (gap.by, gap.goes_on) == (GapMeasure.UNKNOWN, False)
    assert frames[5].gap is None


def test_what_passed_before_an_absent_camera_came_is_missed_unless_a_restart_tells_it() -> None:
    line, strip = FREE, Continuation(FREE, 300.0)
    first = strip.return_with(free(0, 103.0), away_ns=round(100e9))
    assert [(one.fault, one.first_line, one.lines) for one in first] == [(Cause.CAMERA, 0, 15_000), (None, 15_000, 16)]
    (unseen, seen) = admitted(first, line)
    assert (unseen.lines, seen.first_line) == (15_000, 15_000)
    before = frames_of([grab(n, line_settings(), counter_at=0) for n in range(4)], line_settings())
    again = admission(line)
    again.resume(last_of(before[-1], captured_ns=round(98e9), place=None))
    frames = [frame for one in first for frame in again.admit(one)]
    assert [(frame.fault, frame.first_line, frame.lines) for frame in frames] == [
        (Cause.RESTART, 64, 25_000),
        (None, 25_064, 16),
    ]


class Device:
    """What a `LastingCamera` opens: grabs come when `give` is called, the cable is pulled by `lose`."""

    live = True
    grabs: int | None = None

    def __init__(self, serial: str = "S1") -> None:
        self.serial, self.present, self.attempts = serial, True, 0
        self._changed = threading.Condition()
        self._given: list[Grab | None] = []
        self._broken = self._stopped = False

    def open(self) -> "Device":
        self.attempts += 1
        if not self.present:
            raise SourceError("no camera at 10.0.0.1, expected one; check its cable")
        with self._changed:
            self._broken = False
            self._given.clear()
        return self

    def give(self, one: Grab | None) -> None:
        with self._changed:
            self._given.append(one)
            self._changed.notify_all()

    def lose(self) -> None:
        self.present = False
        with self._changed:
            self._broken = True
            self._changed.notify_all()

    def read(self) -> Grab | None:
        with self._changed:
            self._changed.wait_for(lambda: self._given or self._broken or self._stopped)
            if self._stopped:
                return None
            if self._broken:
                raise SourceError("no answer from 10.0.0.1; check its cable")
            return self._given.pop(0)

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *exc: object) -> None: ...


def now(number: int) -> Grab:
    return replace(free(number, 0.0), captured_ns=time.monotonic_ns())


def lasting(device: Device) -> LastingCamera:
    return LastingCamera(device.open, FREE, MonotonicClock(), 300.0)


def test_it_waits_for_an_absent_camera_and_opens_a_lost_one_again_and_again() -> None:
    device = Device()
    device.present = False
    with capture_logs() as logged, lasting(device) as camera:
        wait_until(lambda: device.attempts >= 2)
        assert not camera.wait(0.05)
        assert camera.life.state is CameraState.ABSENT
        assert camera.trouble == "camera absent: no camera at 10.0.0.1, expected one; check its cable"
        for times_lost in range(1, 3):
            device.present = True
            wait_until(lambda: device.attempts and not device._given and camera.serial == "S1")
            while not camera.wait(0.05):
                device.give(now(0))
            one, two = camera.read(), camera.read()
            assert one is not None
            assert two is not None
            assert (one.fault, two.fault) == (Cause.CAMERA, None)
            assert two.first_line == one.first_line + one.lines
            assert (camera.life.state, camera.trouble) == (CameraState.OPEN, "")
            device.lose()
            wait_until(lambda: not camera.wait(0.02) and camera.life.state is CameraState.LOST)
            assert camera.life.times_lost == times_lost
            assert "no answer from" in camera.trouble or "no camera at" in camera.trouble
    events = [entry["event"] for entry in logged]
    assert events.count("camera_absent") == 1
    assert events.count("camera_lost") == events.count("camera_open") == 2


def test_an_end_on_purpose_is_an_end_and_settings_that_cannot_be_right_are_refused() -> None:
    device = Device()
    with lasting(device) as camera:
        device.give(None)
        assert camera.read() is None

    def refuse() -> Camera:
        raise ConfigError("[source] url = 'x' is no address")

    with pytest.raises(ConfigError, match="is no address"), LastingCamera(refuse, FREE, MonotonicClock(), 300.0):
        pass


def hanging_open(release: threading.Event) -> Camera:
    release.wait()
    raise SourceError("too late")


def hanging_read(release: threading.Event) -> Camera:
    class Hung(Device):
        def read(self) -> Grab | None:
            release.wait()
            return None

    return Hung()


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("hung", [hanging_open, hanging_read])
def test_a_driver_that_hangs_holds_up_neither_the_start_nor_the_end(
    hung: Callable[[threading.Event], Camera], release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("linewatch.capture.lasting.OPENING_S", 0.2)
    with LastingCamera(lambda: hung(release), FREE, MonotonicClock(), 300.0) as camera:
        assert not camera.wait(0.05)
        reader = threading.Thread(target=camera.read)
        reader.start()
        camera.stop()
        reader.join(PATIENCE_S)
        assert not reader.is_alive()


def test_whatever_a_driver_raises_is_a_lost_camera() -> None:
    class Odd(Device):
        def read(self) -> Grab | None:
            raise KeyError("\x1b[31mregister")

    with lasting(Odd()) as camera:
        wait_until(lambda: not camera.wait(0.02) and "KeyError" in camera.trouble)
        assert "\x1b" not in camera.trouble
