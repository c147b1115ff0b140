"""A GigE Vision camera on a network of its own: its cable, its address, a namesake, a service that waits for it."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from camera_network import CAMERA, MOVED, CameraNetwork, camera_network
from gige_camera import SERIAL, FakeGigeCamera, fake_gige_camera, needs_gige_camera

from linewatch.capture.cameras.registry import open_for_service
from linewatch.capture.clock import MonotonicClock
from linewatch.capture.genicam.discovery import find_camera, forget, found_cameras
from linewatch.capture.lasting import LastingCamera
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Cause, Grab
from linewatch.service_settings import ServiceSettings, settings_from

pytestmark = [needs_gige_camera, pytest.mark.service, pytest.mark.heavy]

LINES = 64
RATE_HZ = 50.0 * LINES


@pytest.fixture
def network() -> Iterator[CameraNetwork]:
    with camera_network() as made:
        yield made


@pytest.fixture
def camera(network: CameraNetwork) -> Iterator[FakeGigeCamera]:
    forget(SERIAL)  # where another test left it
    one = FakeGigeCamera(SERIAL, CAMERA, network.inside)
    one.start()
    yield one
    one.kill()


def settings(**source: Any) -> ServiceSettings:
    keys = {"type": "genicam", "camera": SERIAL, "trigger": "free"} | source
    return settings_from(
        {"line": {"width_px": 640, "frame_lines": LINES, "line_rate_hz": RATE_HZ}, "source": keys}, "c.toml"
    )


def lasting(**source: Any) -> LastingCamera:
    made = settings(**source)
    assert made.source is not None
    camera = open_for_service(made.source, made.line, MonotonicClock(), 300.0)
    assert isinstance(camera, LastingCamera)
    return camera


def next_seen(camera: LastingCamera, within_s: float) -> tuple[Grab, list[Grab]]:
    """Return the next grab with an image, and what came before it."""
    before: list[Grab] = []
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        if camera.wait(0.1):
            grab = camera.read()
            assert grab is not None
            if grab.image is not None and grab.fault is None:
                return grab, before
            before.append(grab)
    raise AssertionError(f"no picture within {within_s} s; {camera.trouble}")


def drain(camera: LastingCamera, last: Grab, within_s: float) -> Grab:
    """Read until the camera is lost; return the last grab."""
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        if camera.wait(0.1):
            last = camera.read() or last
        elif camera.trouble:
            return last
    raise AssertionError("it was not lost")


@pytest.mark.parametrize("cut", ["stopped for 30 s", "cable", "killed", "another address"])
def test_what_passes_while_a_camera_is_away_is_missed_and_it_is_back_within_2_s(
    camera: FakeGigeCamera, network: CameraNetwork, cut: str
) -> None:
    with lasting() as one:
        seen, _ = next_seen(one, 10.0)
        away_s = time.monotonic()
        if cut == "stopped for 30 s":
            camera.pause()
        elif cut == "cable":
            network.cable(plugged=False)
        else:
            camera.kill()
        last = drain(one, seen, 5.0)
        assert one.life.times_lost == 1
        time.sleep(26.0 if cut == "stopped for 30 s" else 3.0)
        if cut == "stopped for 30 s":
            camera.resume()
        elif cut == "cable":
            network.cable(plugged=True)
        elif cut == "killed":
            camera.start()
        else:
            network.move(CAMERA, MOVED)
            camera.address = MOVED
            camera.start()
        back_s = time.monotonic()
        first, before = next_seen(one, 8.0)
        took_s = time.monotonic() - back_s
        unseen = [grab for grab in before if grab.fault is Cause.CAMERA]
    print(f"{cut}: back after {took_s:.2f} s")
    assert took_s < (7.0 if cut == "another address" else 2.0)  # a search is made every 5 s
    assert len(unseen) == 1
    assert unseen[0].first_line == last.first_line + last.lines
    assert first.first_line >= unseen[0].first_line + unseen[0].lines
    passed_s = (first.captured_ns - last.captured_ns) / 1e9
    assert passed_s > back_s - away_s
    assert unseen[0].lines / RATE_HZ == pytest.approx(passed_s, abs=0.5)


def test_two_cameras_of_one_serial_are_told_apart_by_their_addresses(camera: FakeGigeCamera) -> None:
    with fake_gige_camera() as namesake:
        namesake.start()
        found = found_cameras()
        assert {one.address for one in found} >= {CAMERA, namesake.address}
        with pytest.raises(
            SourceError, match=rf"found 2 cameras \(.*{CAMERA}.*\), expected one with the serial LW01; "
        ):
            find_camera(SERIAL)
        assert find_camera(CAMERA).address == CAMERA
        with lasting(camera=CAMERA) as one:
            next_seen(one, 10.0)
            assert one.serial == SERIAL


def test_packets_that_the_interface_does_not_take_are_refused(camera: FakeGigeCamera) -> None:
    expected = "packet_size = 9000 does not pass through lwcam0, whose MTU is 1500; expected at most that: ip link set"
    with lasting(packet_size=9000) as one:
        assert not one.wait(0.5)
        assert expected in one.trouble
