"""An encoder's counter that is read beside the camera places its lines, by a file and by a real Modbus server."""

import asyncio
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock
from linewatch.capture.position.beside import CountedBesideCamera
from linewatch.capture.position.free_running import FreeRunningCamera
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError, SourceError
from linewatch.contracts.frame import Grab
from linewatch.service_settings import settings_from

RATE_HZ, LINES = 2_000.0, 40
COUNTS_PER_S = 8_000.0
BEGINS_AT = (1 << 32) - 2_000
"""The counter rolls over within the test."""


@dataclass
class Running:
    """A strip that runs since `begun_s`, and the counter of its measuring roll."""

    begun_s: float = field(default_factory=time.monotonic)

    def count(self, at_s: float | None = None) -> int:
        passed_s = (time.monotonic() if at_s is None else at_s) - self.begun_s
        return (BEGINS_AT + round(COUNTS_PER_S * passed_s)) % (1 << 32)


class FreeCamera:
    """Takes grabs of `LINES` rows at `RATE_HZ`, whatever the strip does."""

    live = True
    grabs: int | None = None
    serial = ""

    def __init__(self) -> None:
        self._begun_s, self._number = 0.0, -1

    def read(self) -> Grab | None:
        self._begun_s = self._begun_s or time.monotonic()  # not before the counter is read
        self._number += 1
        taken_s = self._begun_s + (self._number + 1) * LINES / RATE_HZ
        time.sleep(max(0.0, taken_s - time.monotonic()))
        pixels = np.full((LINES, 32), 90 + self._number % 100, np.uint8)
        first = self._number * LINES
        taken_ns = round(taken_s * 1e9)
        return Grab(pixels, "A", self._number, first, LINES, first, float(first), 1.0, taken_ns, encoded=False)

    def stop(self) -> None: ...
    def __enter__(self) -> "FreeCamera":
        return self

    def __exit__(self, *exc: object) -> None: ...


def line_of(counter: dict) -> LineSettings:
    encoder = {"triggers": False, "counts_per_mm": 4.0, "counts_per_line": 4.0, "counter": counter}
    tree = {"line": {"width_px": 32, "frame_lines": LINES, "line_rate_hz": RATE_HZ, "encoder": encoder}}
    return settings_from(tree, "c.toml").line


@contextmanager
def _file(strip: Running, tmp_path: Path) -> Iterator[tuple[dict, Callable[[], None]]]:
    path, stopped = tmp_path / "count", threading.Event()

    def write() -> None:
        while not stopped.wait(0.001):
            (tmp_path / "new").write_text(f"{strip.count()}\n")
            os.replace(tmp_path / "new", path)

    def lose() -> None:
        stopped.set()
        thread.join()
        path.unlink()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield {"type": "file", "path": str(path)}, lose
    finally:
        stopped.set()
        thread.join()


@contextmanager
def _modbus(strip: Running, tmp_path: Path) -> Iterator[tuple[dict, Callable[[], None]]]:
    async def answer(function: int, start: int, address: int, count: int, now: list[int], _new: object) -> None:
        """Put the count into the registers 7 and 8 when they are read."""
        value = strip.count()
        now[7 - start : 9 - start] = [value >> 16, value & 0xFFFF]

    async def serve() -> ModbusTcpServer:
        device = SimDevice(1, [SimData(0, values=[0] * 20, datatype=DataType.REGISTERS)], action=answer)
        server = ModbusTcpServer(device, address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        return server

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(serve(), loop).result(60)

    def lose() -> None:
        asyncio.run_coroutine_threadsafe(server.shutdown(), loop).result(60)

    try:
        port = server.transport.sockets[0].getsockname()[1]
        yield {"type": "modbus", "host": "127.0.0.1", "port": port, "address": 7}, lose
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.mark.parametrize("beside", [_file, _modbus])
def test_lines_lie_where_the_counter_says_and_a_counter_that_is_gone_is_told(
    beside: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strip = Running()
    monkeypatch.setattr("linewatch.capture.position.beside.SILENT_S", 60.0)
    with beside(strip, tmp_path) as (counter, lose):
        line = line_of(counter)
        with CountedBesideCamera(FreeCamera(), line, MonotonicClock()) as counted:
            off_s = []
            for _ in range(15):
                grab = counted.read()
                assert grab is not None
                assert grab.encoder_stop is not None
                end_s = grab.captured_ns / 1e9
                for found, at_s in ((grab.encoder_count, end_s - LINES / RATE_HZ), (grab.encoder_stop, end_s)):
                    off = (found - strip.count(at_s) + (1 << 31)) % (1 << 32) - (1 << 31)
                    off_s.append(abs(off) / COUNTS_PER_S)
            assert statistics.median(off_s) < 0.25, "on a host that is busy"
            placed = FreeRunningCamera(counted, line)
            grabs = [grab for _ in range(4) if (grab := placed.read()) is not None]
            assert [grab.first_line for grab in grabs] == [0, *np.cumsum([grab.lines for grab in grabs])[:-1]]
            assert all(grab.encoded and grab.counter is not None for grab in grabs)
            monkeypatch.undo()
            lose()
            with pytest.raises(SourceError, match=r"\[line.encoder.counter\] cannot be read: .*; expected the counter"):
                list(islice(iter(counted.read, None), 400))


def test_a_counter_that_is_not_there_is_a_camera_that_is_waited_for(tmp_path: Path) -> None:
    line = line_of({"type": "file", "path": str(tmp_path / "none")})
    with (
        pytest.raises(SourceError, match="cannot be read: FileNotFoundError"),
        CountedBesideCamera(FreeCamera(), line, MonotonicClock()),
    ):
        pass


def test_lines_that_the_encoder_triggers_need_counts_that_are_latched_with_them() -> None:
    with pytest.raises(ConfigError, match="set triggers = false, or let the camera give the counts"):
        settings_from(
            {
                "line": {
                    "encoder": {"counts_per_mm": 4.0, "counts_per_line": 4.0, "counter": {"type": "file", "path": "x"}}
                }
            },
            "c.toml",
        )


def test_a_recording_keeps_the_positions_that_it_was_made_with() -> None:
    settings = settings_from(
        {
            "line": {
                "width_px": 320,
                "frame_lines": 64,
                "encoder": {
                    "triggers": False,
                    "counts_per_mm": 4.0,
                    "counts_per_line": 4.0,
                    "counter": {"type": "file", "path": "/none"},
                },
            },
            "source": {"type": "simulator", "length_m": 0.5},
        },
        "c.toml",
    )
    assert settings.source is not None
    with open_camera(settings.source, settings.line, MonotonicClock(), live=False) as camera:
        assert camera.read() is not None
