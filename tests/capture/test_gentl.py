"""The camera kind `gentl`, against the producer that comes with the official binding: three simulated cameras."""

import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from gentl_producer import viky

pytest.importorskip("harvesters", reason="the extra gentl is not installed")

from linewatch.capture.cameras.gentl import GentlSource
from linewatch.capture.cameras.registry import open_camera, open_for_service
from linewatch.capture.clock import MonotonicClock
from linewatch.capture.lasting import LastingCamera
from linewatch.config.line import EncoderSettings, LineSettings
from linewatch.contracts.camera import CameraState
from linewatch.contracts.errors import ConfigError, SourceError
from linewatch.contracts.frame import Cause, Grab
from linewatch.contracts.ports import Camera

LINE = LineSettings(width_px=320, frame_lines=200, line_rate_hz=4000.0)
CHUNKS = {"ChunkModeActive": True, "ChunkSelector": "NrBounces", "ChunkEnable": True}


def opened(line: LineSettings = LINE, **keys: Any) -> Camera:
    source = GentlSource(type="gentl", **{"producer": str(viky()), "camera": "1", **keys})
    return open_camera(source, line, MonotonicClock(), live=True)


def some(camera: Camera, count: int) -> list[Grab]:
    return [grab for _ in range(count) if (grab := camera.read()) is not None]


def test_a_camera_gives_what_the_line_asks_for_with_its_serial() -> None:
    with opened(features={"AcquisitionFrameRate": 50}) as camera:
        assert camera.serial == "1"
        for _ in range(20):
            grab = camera.read()
            assert grab is not None
            assert grab.fault is None
            assert grab.image is not None
            assert grab.image.shape == (200, 320)
            assert grab.image.max() > 0
            assert grab.first_line == 200 * grab.sequence


def test_a_reader_that_is_late_loses_grabs_and_their_numbers_tell() -> None:
    with opened(features={"AcquisitionFrameRate": 100}, buffers=2) as camera:
        some(camera, 2)
        time.sleep(0.5)
        grabs = some(camera, 6)
    assert any(grab.sequence > before.sequence + 1 for before, grab in pairwise(grabs))


def test_a_chunk_is_the_count_of_an_encoder() -> None:
    """The producer's only number is how often its ball has bounced; it stands for a counter that hardly moves."""
    encoder = EncoderSettings(counts_per_mm=1.0, counts_per_line=1.0)
    line = LINE.model_copy(update={"encoder": encoder})
    with opened(line, counter="ChunkNrBounces", features=CHUNKS | {"AcquisitionFrameRate": 100}) as camera:
        grabs = some(camera, 8)
    assert any(grab.position_fault is not None for grab in grabs), "lines pass, and the counter stands"


@pytest.mark.parametrize(
    ("keys", "error", "match"),
    [
        (
            {"camera": "7"},
            SourceError,
            r"viky.cti finds 0 \(VikyTL_DEV_red\), 1 .*, expected exactly one",
        ),
        ({"camera": ""}, SourceError, "expected exactly one of that serial number or id"),
        ({"producer": "/none.cti"}, SourceError, "no such file, expected a GenTL producer"),
        ({"features": {"Exposed": 1}}, ConfigError, "feature Exposed cannot be set to 1 .*, found None; expected"),
        ({"features": {"AcquisitionFrameRate": 1e9}}, ConfigError, "feature AcquisitionFrameRate cannot be set to"),
        ({"counter": "ChunkNone"}, ConfigError, "has no feature ChunkNone, .source. counter expects"),
    ],
)
def test_bad_settings_say_what_was_found_and_expected(keys: dict, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        opened(**keys)


def test_a_file_that_is_no_producer_and_a_frame_beyond_the_bounds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.cti").write_bytes(os.urandom(4096))
    with pytest.raises(SourceError, match=r"x.cti .*expected"):
        opened(producer=str(tmp_path / "x.cti"))
    with pytest.raises(ConfigError, match=r"feature Height cannot be set to 64 .*found 400; expected"):
        opened(LINE.model_copy(update={"frame_lines": 64}))


def test_a_camera_that_another_program_holds_is_waited_for() -> None:
    source = GentlSource(type="gentl", producer=viky(), camera="1")
    with opened() as other:
        assert other.read() is not None
        with open_for_service(source, LINE, MonotonicClock(), 300.0) as camera:
            assert isinstance(camera, LastingCamera)
            if camera.life.state is CameraState.OPEN:
                pytest.skip("this producer lets a camera be held twice")
            other.__exit__(None, None, None)
            first = camera.read()
            assert first is not None
            assert first.fault is Cause.CAMERA
