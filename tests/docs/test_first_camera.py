"""docs/first-camera.md goes from the box to the first inspected coil, command by command, with a camera on loopback.

Aravis' fake GigE Vision camera plays what a real one would see: darkness, a uniform target, the printed target, and
strip with known defects, through a lens that distorts, darkens towards its rims and has dust on it.
"""

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

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


def test_from_the_box_to_the_first_inspected_coil(
    camera: FakeGigeCamera, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = Scene()
    line = LineSettings(width_px=WIDTH, frame_lines=LINES)
    strip = SimulatedStrip(3, FRAMES * LINES / 1000, 3.0, line, texture="measured")
    coil = np.stack([strip.lines(number * LINES, LINES) for number in range(FRAMES)]).astype(np.float32)

    def play(brightness: np.ndarray, frames: int = 16) -> None:
        camera.kill()
        camera.play(scene.under(brightness, frames), folder)

    def told(text: str) -> str:
        out = capsys.readouterr().out
        assert text in out, out
        return out

    play(np.full(WIDTH, 190.0))
    run("find")
    found = told(SERIAL)
    assert "Aravis" in found
    assert "ExposureTimeAbs" in found
    run("look")
    told("blown out")
    run("look as configured")
    told("1600 px x 256 lines")

    play(np.zeros(WIDTH))
    run("dark")
    play(np.full(WIDTH, 190.0))
    run("bright")
    run("flat field")
    told("unevenness after")
    run("print the target")
    play(seen(LENS_2_PERCENT, target(10.0)))
    run("geometry")
    capsys.readouterr()
    calibration = read_calibration(calibration_path(folder / "calibration" / "camera", SERIAL))
    assert calibration.flat_field is not None
    assert calibration.flat_field.uneven_after.value < 0.2 * calibration.flat_field.uneven_before.value
    assert calibration.geometry is not None

    play(coil, FRAMES)
    run("check")
    told("good")
    run("first coil")
    told("coverage")
    verdicts = [json.loads(one) for one in (folder / "verdicts.jsonl").read_text().splitlines()]
    assert any("defect" in json.dumps(one) for one in verdicts)
    assert (folder / "coil.png").stat().st_size > 10_000

    ports = _free_ports(3)
    endpoints = [f"tcp://127.0.0.1:{port}" for port in ports]
    wire = '\n[wire]\npublish = "{}"\nserve = "{}"\ncommands = "{}"\n'.format(*endpoints)
    (folder / "camera.toml").write_text(BLOCKS["camera.toml"] + wire)
    command = [sys.executable, "-m", "linewatch.cli", "run", "camera.toml"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as service:
        try:
            with Subscriber(endpoints[0], endpoints[1], topics=["defect", "status"]) as wire_side:
                defect, status = _first_of_each(wire_side, service)
            assert defect.coil
            assert status.coverage > 0.5
            with Commander(endpoints[2]) as commander:
                commander.start_coil("C-1001")
        finally:
            service.terminate()
            said = service.communicate(timeout=60)[1]
        assert service.returncode == 0, said
    assert wait_until(lambda: cli.main(["cameras"]) == 0 and "nobody" in capsys.readouterr().out)


def _first_of_each(wire: Subscriber, service: "subprocess.Popen[str]") -> tuple[DefectMessage, StatusMessage]:
    """Return a defect, and a status in which strip was inspected."""
    defect: DefectMessage | None = None
    deadline_s = time.monotonic() + 120
    for message in wire:
        assert service.poll() is None
        assert time.monotonic() < deadline_s
        if isinstance(message, DefectMessage):
            defect = message
        if isinstance(message, StatusMessage) and defect is not None and message.coverage:
            return defect, message
    raise AssertionError("the service ended")


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports
