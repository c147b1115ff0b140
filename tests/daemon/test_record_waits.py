"""`linewatch record` waits for a camera that is absent or lost, and records what it gives when it is back."""

import json
import platform
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gige_camera import SERIAL, fake_gige_camera, needs_gige_camera
from waiting import wait_until
from without_network import __file__ as WITHOUT_NETWORK

from linewatch.capture.sidecar import sidecar_path

pytestmark = [needs_gige_camera, pytest.mark.service]

ROOT = Path(__file__).parents[2]
LINES = 64


def grabs(video: Path) -> list[dict[str, Any]]:
    path = sidecar_path(video)
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines[1:] if line.endswith("\n")]


def recording(tmp_path: Path, *more: str, behind: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    config = tmp_path / "camera.toml"
    config.write_text(
        f"[line]\nwidth_px = 640\nframe_lines = {LINES}\nline_rate_hz = {20 * LINES}\n"
        f'[source]\ntype = "genicam"\ncamera = "{SERIAL}"\ntrigger = "free"\n'
    )
    command = (sys.executable, "-m", "linewatch.cli", "record", str(config), "--out", str(tmp_path / "coil.avi"))
    return subprocess.Popen((*behind, *command, *more), cwd=ROOT, stderr=subprocess.PIPE, text=True)


@pytest.mark.heavy
def test_what_an_absent_and_a_lost_camera_give_is_recorded_and_what_passed_meanwhile_is_told(tmp_path: Path) -> None:
    video = tmp_path / "coil.avi"
    with fake_gige_camera() as camera:
        process = recording(tmp_path)
        assert not video.exists()
        camera.start()
        wait_until(lambda: len(grabs(video)) > 3)
        camera.kill()
        camera.start()
        wait_until(lambda: [one for one in grabs(video) if one["fault"] == "camera"])
        seen = len(grabs(video))
        wait_until(lambda: len(grabs(video)) > seen + 3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, process.stderr and process.stderr.read()[-2000:]
    found = grabs(video)
    header = json.loads(sidecar_path(video).read_text().splitlines()[0])
    assert header["serial"] == SERIAL
    assert found[0]["video_frame"] == 0, "the recording begins with a picture"
    away = [one for one in found if one["fault"] == "camera"]
    assert all(one["video_frame"] is None and one["lines"] > 0 for one in away)


def test_a_camera_that_never_comes_is_no_recording(tmp_path: Path) -> None:
    with fake_gige_camera():
        process = recording(tmp_path, "--max-s", "0.5")
        _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "nothing was recorded: the camera did not come" in said.splitlines()[-1]
    assert not (tmp_path / "coil.avi").exists()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the filter is for x86-64")
def test_a_process_that_may_not_use_the_network_says_so(tmp_path: Path) -> None:
    process = recording(tmp_path, "--max-s", "0.5", behind=(sys.executable, WITHOUT_NETWORK))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "no permission for the network interface: found 'Operation not permitted'" in said.splitlines()[-1]
