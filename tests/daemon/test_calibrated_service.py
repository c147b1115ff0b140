"""A service inspects strip as its camera's calibration corrects it, says so, and keeps it with what it records."""

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from live_service import PATIENCE_S, live_service
from references import keep_flat_field
from test_replay import timeless, with_

from linewatch.capture.cameras.recording import RecordingCamera, RecordingSource
from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock
from linewatch.capture.sidecar import read_header, sidecar_path
from linewatch.cli import main
from linewatch.client import Subscriber
from linewatch.config.calibration_file import calibration_path, read_calibration
from linewatch.contracts.errors import ConfigError
from linewatch.daemon.record import record_source
from linewatch.daemon.replay import replay
from linewatch.daemon.run import run
from linewatch.service_settings import ServiceSettings
from linewatch.wire.schema import StatusMessage

pytestmark = pytest.mark.service
SERIAL = "SIM-9"


@pytest.fixture
def uneven(settings: ServiceSettings, tmp_path: Path) -> ServiceSettings:
    """A simulated camera that is uneven, and calibrated."""
    keep_flat_field(tmp_path, SERIAL, width=1600, lines=16)
    return with_(
        settings,
        source={"light_falloff": 0.5, "length_m": 1.5},
        calibration={"folder": tmp_path, "serial": SERIAL, "required": True},
    )


def told(verdicts: Path) -> Counter[str]:
    """The calibrations that the verdicts of a file name."""
    lines = map(json.loads, verdicts.read_text().splitlines())
    return Counter(line["calibration"] for line in lines if line["kind"] == "verdict")


def test_a_recording_keeps_raw_pixels_and_the_calibration_that_its_replay_applies(
    uneven: ServiceSettings, tmp_path: Path
) -> None:
    calibration = read_calibration(calibration_path(tmp_path, SERIAL))
    video = tmp_path / "coil.avi"
    record_source(uneven, video, max_mb=100, max_s=None)
    assert read_header(sidecar_path(video)).calibration == calibration
    assert uneven.source is not None
    with (
        RecordingCamera(video, uneven.line) as recorded,
        open_camera(uneven.source, uneven.line, MonotonicClock(), live=False) as camera,
    ):
        for raw in iter(camera.read, None):
            kept = recorded.read()
            assert kept is not None
            assert np.array_equal(raw.image, kept.image)

    kept_aside = calibration_path(tmp_path, SERIAL).rename(tmp_path / "aside.json")  # the recording has its own
    recording = uneven.model_copy(update={"source": RecordingSource(type="recording", path=video)})
    found = {}
    for name, chosen in (("own", None), ("named", str(kept_aside)), ("none", "none")):
        summary = replay(recording, out=tmp_path / name, calibration=chosen)
        assert summary.calibration == ("" if name == "none" else calibration.identity)
        found[name] = timeless(tmp_path / name)
    assert told(tmp_path / "own") == {calibration.told: 6}
    assert told(tmp_path / "none") == {"": 6}
    assert found["own"] == found["named"], "the same calibration, the same bytes"
    assert found["own"] != found["none"]

    for name, more in (("shown.png", ()), ("raw.png", ("--raw",))):
        drawn = ["picture", str(tmp_path / "own"), "--source", str(video), "--out", str(tmp_path / name)]
        assert main([*drawn, *more]) == 0
    shown, raw = (cv2.imread(str(tmp_path / name))[60:210].mean(axis=(1, 2)) for name in ("shown.png", "raw.png"))
    assert shown.std() < 0.9 * raw.std(), "across, the picture is as even as what the engines see"

    keep_flat_field(tmp_path, "narrow", width=200)
    with pytest.raises(ConfigError, match=r"flat_field was made at 200 px, .line. width_px is 1600"):
        replay(recording, calibration=str(calibration_path(tmp_path, "narrow")))


def test_a_running_service_tells_its_calibration(uneven: ServiceSettings, tmp_path: Path) -> None:
    with (
        live_service(uneven, tmp_path / "v.jsonl", 1500.0) as service,
        Subscriber(service.publish, service.serve, topics=["status"]) as subscriber,
    ):
        status = subscriber.poll(PATIENCE_S)
    assert isinstance(status, StatusMessage)
    assert status.calibration is not None
    calibration = read_calibration(calibration_path(tmp_path, SERIAL))
    part = calibration.flat_field
    assert part is not None
    assert (status.calibration.serial, status.calibration.identity) == (SERIAL, calibration.identity)
    assert status.calibration.made_unix_ns == {"flat_field": round(part.made.timestamp() * 1e9)}
    assert status.calibration.trouble is None


def test_a_service_refuses_a_calibration_that_is_lacking_or_of_something_else(
    uneven: ServiceSettings, tmp_path: Path
) -> None:
    uneven = with_(uneven, line={"width_px": 512})  # rendered faster
    path = keep_flat_field(tmp_path / "narrow", SERIAL, width=512, lines=16)
    uneven = with_(uneven, calibration={"folder": path.parent})
    for lines, said in (
        (path.read_text().replace(SERIAL, "SIM-8"), "edited or damaged"),
        ("SIM-8", "is cut or no JSON"),
    ):
        path.write_text(lines)
        with pytest.raises(ConfigError, match=said):
            replay(uneven)
    path.write_text(keep_flat_field(tmp_path, "SIM-8", width=512, lines=16).read_text())
    with pytest.raises(ConfigError, match="is of camera 'SIM-8', this is camera 'SIM-9'"):
        run(uneven)
    path.unlink()
    with pytest.raises(ConfigError, match=r"required = true, but .*SIM-9.json does not exist; calibrate the camera"):
        replay(uneven)
    record_source(uneven, tmp_path / "bare.avi", max_mb=100, max_s=0.2)
    assert read_header(sidecar_path(tmp_path / "bare.avi")).calibration is None, "its references may be recorded"
    with pytest.raises(ConfigError, match=r"required = true, but the camera tells no serial, and none is configured"):
        replay(with_(uneven, calibration={"serial": None}))
