"""docs/first-camera.md goes from the box to the first inspected coil, command by command, with a camera on loopback.

Aravis' fake GigE Vision camera plays what a real one would see: darkness, a uniform target, the printed target, and
strip with known defects, through a lens that distorts, darkens towards its rims and has dust on it.
"""

import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from gige_camera import SERIAL, FakeGigeCamera, fake_gige_camera, needs_gige_camera
from optics import LENS_2_PERCENT, seen, target
from waiting import wait_until

from linewatch import cli
from linewatch.client import Commander, Subscriber
from linewatch.config.calibration_file import calibration_path, read_calibration
from linewatch.config.line import LineSettings
from linewatch.simulation.strip import SimulatedStrip
from linewatch.wire.schema import DefectMessage, StatusMessage

pytestmark = [needs_gige_camera, pytest.mark.service, pytest.mark.heavy, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "first-camera.md").read_text()
BLOCKS = dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', PAGE, re.DOTALL | re.MULTILINE))
LINES, WIDTH, FRAMES = 256, 1600, 120
DUST_AT = 700


class Scene:
    """What lies under the camera, as its sensor sees it: uint8 (frames, lines, width)."""

    def __init__(self) -> None:
        rng = np.random.default_rng(11)
        across = np.linspace(-1, 1, WIDTH)
        self._light = 0.95 - 0.35 * across**2  # vignetting
        self._light[DUST_AT : DUST_AT + 3] *= 0.6
        self._gain = 1 + rng.normal(0, 0.02, WIDTH)  # of each pixel
        self._dark = 6 + rng.normal(0, 0.7, WIDTH)
        self._noise = rng.normal(0, 1.5, (FRAMES + 7, LINES, WIDTH)).astype(np.float32)

    def under(self, brightness: np.ndarray, frames: int = 16) -> np.ndarray:
        """brightness: (width,), or (n, lines, width) of n frames."""
        lit = np.broadcast_to(brightness * self._light * self._gain + self._dark, (frames, LINES, WIDTH))
        return np.rint(lit + self._noise[:frames]).clip(0, 255).astype(np.uint8)


@pytest.fixture
def camera() -> Iterator[FakeGigeCamera]:
    with fake_gige_camera() as place:
        yield place


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the page's commands are run, with the shipped engines and configurations."""
    shutil.copytree(ROOT / "engines", tmp_path / "engines")
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "camera.toml").write_text(BLOCKS["camera.toml"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(name: str) -> None:
    """Run the commands of a block."""
    for line in BLOCKS[name].splitlines():
        words = shlex.split(line)
        assert words[0] == "linewatch"
        assert cli.main(words[1:]) == 0, line


Play = Callable[..., None]
"""Restarts the camera, so that it sees something else: a brightness, and how many pictures of it there are."""


@pytest.fixture
def play(camera: FakeGigeCamera, folder: Path) -> Play:
    scene = Scene()

    def play(brightness: np.ndarray, frames: int = 16) -> None:
        camera.kill()
        camera.play(scene.under(brightness, frames), folder)

    return play


def test_from_the_box_to_the_first_inspected_coil(play: Play, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    play(np.full(WIDTH, 190.0))
    for name, *texts in (
        ("find", SERIAL, "Aravis", "nobody", "ExposureTimeAbs", "10 to 1e+07"),
        ("look", "512 px x 512 lines", "blown out"),
        ("look as configured", "1600 px x 256 lines"),
    ):
        run(name)
        told = capsys.readouterr().out
        assert all(text in told for text in texts), told
    _calibrate(play, folder)

    line = LineSettings(width_px=WIDTH, frame_lines=LINES)
    strip = SimulatedStrip(3, FRAMES * LINES / 1000, 3.0, line, texture="measured")
    coil = np.stack([strip.lines(number * LINES, LINES) for number in range(FRAMES)]).astype(np.float32)
    play(coil, FRAMES)
    capsys.readouterr()
    run("check")
    assert "flat field" in capsys.readouterr().out
    run("first coil")
    assert "coverage" in capsys.readouterr().out
    verdicts = (folder / "verdicts.jsonl").read_text()
    assert verdicts.count('"state":"closed"') > 20
    picture = cv2.imread(str(folder / "coil.png"))
    assert picture.shape[1] > 1000
    _run_live(folder)
    assert wait_until(lambda: cli.main(["cameras"]) == 0 and "nobody" in capsys.readouterr().out)


def _calibrate(play: Play, folder: Path) -> None:
    play(np.zeros(WIDTH))
    run("dark")
    play(np.full(WIDTH, 190.0))
    run("bright")
    run("flat field")
    run("print the target")
    play(seen(LENS_2_PERCENT, target(10.0)))
    run("geometry")
    calibration = read_calibration(calibration_path(folder / "calibration" / "camera", SERIAL))
    flat, geometry = calibration.flat_field, calibration.geometry
    assert flat is not None
    assert geometry is not None
    assert flat.uneven_after.value < 0.2 * flat.uneven_before.value
    assert {"flat-field.png", "geometry.png", "target.svg"} <= {path.name for path in folder.iterdir()}


def _run_live(folder: Path) -> None:
    """Run the service until it has told a defect, and name its coil."""
    endpoints = [f"tcp://127.0.0.1:{port}" for port in _free_ports(3)]
    text = BLOCKS["camera.toml"].replace("tcp://127.0.0.1:5572", endpoints[2])
    text += 'publish = "{}"\nserve = "{}"\n'.format(*endpoints)
    (folder / "camera.toml").write_text(text)
    command = [sys.executable, "-m", "linewatch.cli", "run", "camera.toml"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as service:
        try:
            with Subscriber(endpoints[0], endpoints[1], topics=["defect", "status"]) as wire_side:
                status = _inspected(wire_side, service)
            assert status.coverage is not None
            assert status.coverage > 0.5
            with Commander(endpoints[2]) as commander:
                commander.start_coil("C-1001")
        finally:
            service.terminate()
            said = service.communicate(timeout=60)[1]
        assert service.returncode == 0, said


def _inspected(wire: Subscriber, service: "subprocess.Popen[str]") -> StatusMessage:
    """Return the first status behind a defect in which strip was inspected."""
    defects, deadline_s = 0, time.monotonic() + 120
    for message in wire:
        assert service.poll() is None
        assert time.monotonic() < deadline_s
        defects += isinstance(message, DefectMessage)
        if isinstance(message, StatusMessage) and defects and message.coverage:
            return message
    raise AssertionError("the service ended")


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports
