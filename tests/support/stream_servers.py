"""Starts cameras that send streams, each in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Self

import pytest

SUPPORT = Path(__file__).parent
SYSTEM_PYTHON = "/usr/bin/python3"


@cache
def _lacks_gstreamer() -> str:
    code = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    try:
        done = subprocess.run([SYSTEM_PYTHON, "-c", code], capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


class StreamServer:
    """A camera that can be switched off and on again; it keeps its port."""

    def __init__(self, *command: str) -> None:
        self._command, self.port = command, "0"
        self._process: subprocess.Popen[str] | None = None

    @property
    def is_http(self) -> bool:
        return "mjpeg_server.py" in self._command

    def start(self) -> Self:
        interpreter, script, *arguments = self._command
        self._process = subprocess.Popen(
            [interpreter, str(SUPPORT / script), self.port, *arguments], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = self._process.stdout.readline().strip()
        assert self.port.isdecimal(), "the server did not start"
        return self

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


@contextmanager
def serving(server: StreamServer) -> Iterator[StreamServer]:
    try:
        yield server.start()
    finally:
        server.kill()


def mjpeg_server(size: str = "320x64", *, rate: int = 50, pictures: str = "snow", login: str = "") -> StreamServer:
    return StreamServer(sys.executable, "mjpeg_server.py", size, str(rate), pictures, login)


def rtsp_server(
    size: str = "320x64", *, rate: int = 50, pattern: str = "snow", codec: str = "h264", login: str = ""
) -> StreamServer:
    """Skip the test where GStreamer's RTSP server is not installed."""
    if why := _lacks_gstreamer():
        pytest.skip(f"no GStreamer RTSP server for {SYSTEM_PYTHON}: {why} (Debian: gir1.2-gst-rtsp-server-1.0)")
    return StreamServer(SYSTEM_PYTHON, "rtsp_server.py", size, str(rate), pattern, codec, login)
