"""The camera kind `stream`, against real servers in processes of their own."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from stream_servers import StreamServer, mjpeg_server, rtsp_server, serving
from structlog.testing import capture_logs
from waiting import wait_until

from linewatch.capture.cameras import decoder_process
from linewatch.capture.cameras.registry import open_camera, open_for_service
from linewatch.capture.cameras.stream import StreamSource
from linewatch.capture.clock import MonotonicClock
from linewatch.capture.lasting import LastingCamera
from linewatch.config.line import LineSettings
from linewatch.contracts.camera import CameraState
from linewatch.contracts.errors import ConfigError, SourceError
from linewatch.contracts.frame import Cause, Grab
from linewatch.contracts.ports import Camera
from linewatch.service_settings import settings_from

LINE = LineSettings(width_px=320, frame_lines=64, mm_per_line=0.5, line_rate_hz=3200.0)
PATIENCE_S = 120.0
SECRET = "pa:ss/w@rd"
LOGIN = f"user:{SECRET}"


def source(server: StreamServer | str, **keys: Any) -> StreamSource:
    if isinstance(server, StreamServer):
        server = f"http://127.0.0.1:{server.port}/" if server.is_http else f"rtsp://127.0.0.1:{server.port}/strip"
    return StreamSource(type="stream", url=server, **keys)


@contextmanager
def opened(settings: StreamSource) -> Iterator[Camera]:
    with open_camera(settings, LINE, MonotonicClock(), live=True) as camera:
        yield camera


def grabs_of(camera: Camera, count: int) -> list[Grab]:
    found = [camera.read() for _ in range(count)]
    assert None not in found
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("keys", [{}, pytest.param({"transport": "udp"}, marks=pytest.mark.heavy)], ids=["tcp", "udp"])
def test_an_rtsp_camera_is_placed_by_its_time_stamps(keys: dict[str, str]) -> None:
    with serving(rtsp_server(login=LOGIN)) as camera:
        os.environ["LINEWATCH_TEST_LOGIN"] = LOGIN
        with opened(source(camera, login_variable="LINEWATCH_TEST_LOGIN", **keys)) as stream:
            begun = time.monotonic_ns()
            grabs = [grab for grab in grabs_of(stream, 20) if grab.image is not None]
            assert len(grabs) > 10
    for before, grab in pairwise(grabs):
        assert grab.first_line - before.first_line == 64 * (grab.sequence - before.sequence)
        assert 0 < grab.captured_ns - before.captured_ns < 1e9
        assert not grab.encoded
    assert all(grab.captured_ns < time.monotonic_ns() for grab in grabs)
    assert grabs[-1].captured_ns > begun
    assert grabs[0].image is not None
    assert grabs[0].image.shape == (64, 320)


@pytest.mark.parametrize(
    ("pictures", "faults"),
    [
        ("damaged", {None, Cause.CORRUPT}),
        pytest.param("colour", {Cause.COLOUR}, marks=pytest.mark.heavy),
    ],
)
def test_pictures_that_cannot_be_inspected_are_told(pictures: str, faults: set[Cause | None]) -> None:
    with serving(mjpeg_server(pictures=pictures)) as camera, opened(source(camera)) as stream:
        grabs = grabs_of(stream, 9)
    assert {grab.fault for grab in grabs} == faults
    assert all((grab.image is None) == (grab.fault is not None) for grab in grabs)
    assert [grab.first_line for grab in grabs] == [64 * grab.sequence for grab in grabs]


@pytest.mark.heavy
def test_a_slow_reader_gets_the_newest_frames_and_a_gap_not_an_ever_older_picture() -> None:
    with serving(mjpeg_server(rate=100)) as camera, opened(source(camera)) as stream:
        grabs_of(stream, 2)
        time.sleep(3)  # the pipe, and what waits, hold a fraction of it
        late = grabs_of(stream, 120)
        assert any(grab.sequence > before.sequence + 1 for before, grab in pairwise(late))
        assert all(grab.first_line >= 64 * grab.sequence for grab in late)
        assert time.monotonic_ns() - late[-1].captured_ns < 1.5e9


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("server", "keys", "error", "match"),
    [
        (mjpeg_server("640x64"), {}, ConfigError, r"sends 640 px x 64 lines of 8 bits, \[line\] expects 320 x 64"),
        (mjpeg_server(login=LOGIN), {}, SourceError, "it refuses the user or the password; expected"),
        (mjpeg_server(pictures="junk"), {}, SourceError, "sends no picture that can be decoded, expected video"),
        (mjpeg_server(pictures="ends"), {}, SourceError, "was lost: .*; check"),
        (mjpeg_server(pictures="stall"), {"read_timeout_s": 0.5}, SourceError, "was lost: no answer within 0.5 s"),
    ],
    ids=["wrong size", "no password", "junk", "ends", "stalls"],
)
def test_what_is_wrong_is_told(server: StreamServer, keys: dict, error: type[Exception], match: str) -> None:
    with serving(server) as camera, pytest.raises(error, match=match), opened(source(camera, **keys)) as stream:
        grabs_of(stream, 30)


def test_an_address_that_takes_the_connection_and_never_answers_is_absent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(SourceError, match=r"no camera at rtsp://127.0.0.1:\d+/x: no answer within 0.5 s"):
            open_camera(source(url, open_timeout_s=0.5), LINE, MonotonicClock(), live=True)


def test_a_password_stands_in_no_error_no_log_and_no_process_list(tmp_path: Path) -> None:
    login = tmp_path / "login"
    login.write_text(f"user:not{SECRET}\n")
    with serving(rtsp_server(login=LOGIN)) as camera, capture_logs() as logged:
        settings = source(camera, login_file=login)
        with open_for_service(settings, LINE, MonotonicClock(), 300.0) as stream:
            assert isinstance(stream, LastingCamera)
            wait_until(lambda: stream.life.state is CameraState.ABSENT and "refuses" in stream.trouble, PATIENCE_S)
            seen = [stream.trouble, str(settings), repr(settings), str(logged)]
            login.write_text(f"{LOGIN}\n")
            assert stream.read() is not None
            seen += [str(logged), *_decoders()]
            assert _decoders()
        assert not any(secret in text for text in seen for secret in (SECRET, "ss%2Fw"))
    with pytest.raises(ConfigError) as refused:
        settings_from({"source": {"type": "stream", "url": f"rtsp://user:{SECRET}@10.0.0.1/x"}}, "c.toml")
    assert "login_file" in str(refused.value)
    assert SECRET not in str(refused.value)
    assert "rd@" not in str(refused.value)


def _decoders() -> list[str]:
    """Return what the process list shows of the decoders that this process has started."""
    own, shown = str(os.getpid()), []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # processes end all the time
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            shown.append((parent, (process / "cmdline").read_text()))
    return [line for parent, line in shown if parent == own and "stream_decoder" in line]


@pytest.mark.parametrize("url", ["10.0.0.1", "gopher://10.0.0.1/x", "file:///etc/passwd", "/etc/passwd", "rtsp://[::1"])
def test_what_is_no_camera_s_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"\[source\] url: .*expected rtsp://HOST/PATH"):
        settings_from({"source": {"type": "stream", "url": url}}, "c.toml")


@pytest.mark.heavy
@pytest.mark.parametrize("rtsp", [True, False], ids=["rtsp", "http"])
def test_a_camera_that_is_switched_off_and_on_again_is_back_and_a_killed_decoder_too(rtsp: bool) -> None:
    camera = rtsp_server() if rtsp else mjpeg_server()
    with serving(camera), open_for_service(source(camera, read_timeout_s=2.0), LINE, MonotonicClock(), 300.0) as stream:
        assert isinstance(stream, LastingCamera)
        newest = _reading(stream)
        wait_until(lambda: len(newest) > 5, PATIENCE_S)
        camera.kill()
        wait_until(lambda: stream.life.state is CameraState.LOST, PATIENCE_S)
        time.sleep(1)
        camera.start()
        wait_until(lambda: stream.life.state is CameraState.OPEN, PATIENCE_S)
        wait_until(lambda: any(grab.fault is Cause.CAMERA for grab in newest), PATIENCE_S)
        if not rtsp:
            inner = stream._camera
            os.kill(inner._process._process.pid, signal.SIGSEGV)  # type: ignore[union-attr]
            wait_until(lambda: stream.life.times_lost == 2, PATIENCE_S)
            wait_until(lambda: stream.life.state is CameraState.OPEN, PATIENCE_S)
            wait_until(lambda: sum(grab.fault is Cause.CAMERA for grab in newest) == 2, PATIENCE_S)
        begun = len(newest)
        wait_until(lambda: len(newest) > begun + 3, PATIENCE_S)
    reached = 0
    for grab in newest:
        assert grab.first_line >= reached
        reached = grab.first_line + grab.lines


def _reading(camera: Camera) -> list[Grab]:
    newest: list[Grab] = []
    threading.Thread(target=lambda: newest.extend(iter(camera.read, None)), daemon=True).start()
    return newest


@pytest.mark.heavy
def test_no_process_is_left_behind() -> None:
    with serving(mjpeg_server()) as camera, opened(source(camera)) as stream:
        grabs_of(stream, 1)
    while decoder_process._idle:
        decoder_process._idle.pop().close()
    assert not _decoders()


@pytest.mark.skipif(not Path("/dev/video0").exists(), reason="no V4L2 device here, nor a loopback device")
def test_a_usb_camera_gives_frames() -> None:
    with pytest.raises(ConfigError, match="px x"), opened(source("/dev/video0")) as stream:
        grabs_of(stream, 3)


def test_a_usb_camera_that_is_not_plugged_in_is_absent() -> None:
    with pytest.raises(SourceError, match="no camera at /dev/video63: No such file or directory; expected a stream"):
        open_camera(source("/dev/video63"), LINE, MonotonicClock(), live=True)
