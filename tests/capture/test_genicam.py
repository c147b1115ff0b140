"""A GenICam camera over GigE Vision: Aravis' fake camera on loopback, in a process of its own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from gige_camera import ADDRESS, SERIAL, FakeGigeCamera, fake_gige_camera, needs_gige_camera

from linewatch.capture.cameras.genicam import GenicamCamera, GenicamSource
from linewatch.capture.clock import MonotonicClock
from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Grab

pytestmark = [needs_gige_camera, pytest.mark.service]

LINES, WIDTH = 256, 1600
RAMP = 255
"""Aravis' fake camera shows (column + line + frame) modulo this."""


@pytest.fixture(scope="module")
def place() -> Iterator[FakeGigeCamera]:
    """The place of one camera, for all tests of this file."""
    with fake_gige_camera() as camera:
        yield camera


@pytest.fixture
def camera(place: FakeGigeCamera) -> Iterator[FakeGigeCamera]:
    yield place
    place.kill()


def line(frames_per_s: float = 100.0, lines: int = LINES, width: int = WIDTH) -> LineSettings:
    return LineSettings(width_px=width, frame_lines=lines, line_rate_hz=frames_per_s * lines)


def source(**settings: Any) -> GenicamSource:
    return GenicamSource(type="genicam", camera=ADDRESS, **{"trigger": "free", "packet_size": 9000} | settings)


@contextmanager
def opened(geometry: LineSettings | None = None, **settings: Any) -> Iterator[GenicamCamera]:
    with source(**settings).open(geometry or line(), MonotonicClock(), live=True) as camera:
        yield camera


def wrong_pixels(grab: Grab) -> int:
    """Count the pixels of a grab that are not the ramp which begins with its first pixel."""
    assert grab.image is not None
    shown = grab.image[:: len(grab.image) - 1 or 1, ::7].astype(
        int
    )  # first and last line; a look at all takes too long
    rows, columns = np.arange(len(grab.image))[:: len(grab.image) - 1 or 1, None], np.arange(grab.image.shape[1])[::7]
    return int((shown != (shown[0, 0] + rows + columns) % RAMP).sum())


def test_it_gives_every_frame_at_the_rate_that_it_is_set_to(camera: FakeGigeCamera) -> None:
    camera.start()
    with opened(line(100.0)) as opened_camera:
        assert opened_camera.serial == SERIAL
        grabs = []
        began_s = time.monotonic()
        for number in range(120):  # its numbers roll over after 536
            grab = opened_camera.read()
            assert grab is not None
            assert (grab.sequence, grab.first_line, grab.lines, grab.fault) == (number, number * LINES, LINES, None)
            assert wrong_pixels(grab) == 0
            grabs.append(grab.captured_ns)
        assert 0.9 < 1.2 / (time.monotonic() - began_s) * 1.0 < 1.5
    assert grabs == sorted(grabs)
