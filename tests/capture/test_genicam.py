"""A GenICam camera over GigE Vision: Aravis' fake camera on loopback, in a process of its own."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from gige_camera import ADDRESS, SERIAL, FakeGigeCamera, camera_description, fake_gige_camera, needs_gige_camera
from mono_pixels import packed
from waiting import wait_until

from linewatch.capture.cameras.genicam import GenicamCamera, GenicamSource
from linewatch.capture.clock import MonotonicClock
from linewatch.capture.genicam.discovery import find_camera, holder_of
from linewatch.capture.genicam.mono import mono_format
from linewatch.cli import main
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError, SourceError
from linewatch.contracts.frame import Cause, Grab

pytestmark = [needs_gige_camera, pytest.mark.service]

LINES, WIDTH = 64, 640
RAMP = 255
"""Aravis' fake camera shows (column + line + frame) modulo this."""
HOLD = """
import sys, time, gi
gi.require_version("Aravis", "0.8")
from gi.repository import Aravis
camera = Aravis.Camera.new(sys.argv[1])
print(camera.get_device().is_controller(), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def place() -> Iterator[FakeGigeCamera]:
    """The place of one camera, for all tests of this file."""
    with fake_gige_camera() as camera:
        yield camera


@pytest.fixture
def camera(place: FakeGigeCamera) -> Iterator[FakeGigeCamera]:
    yield place
    place.kill()


def source(**settings: Any) -> GenicamSource:
    return GenicamSource(type="genicam", **{"camera": ADDRESS, "trigger": "free", "packet_size": 1500} | settings)


@contextmanager
def opened(frames_per_s: float = 100.0, **settings: Any) -> Iterator[GenicamCamera]:
    line = LineSettings(width_px=WIDTH, frame_lines=LINES, line_rate_hz=frames_per_s * LINES)
    with source(**settings).open(line, MonotonicClock(), live=True) as camera:
        yield camera


def read(camera: GenicamCamera) -> Grab:
    grab = camera.read()
    assert grab is not None
    return grab


def read_on(camera: GenicamCamera) -> None:
    while True:
        read(camera)


def wrong_pixels(image: np.ndarray) -> int:
    """Count the pixels that are not the ramp which begins with the first pixel."""
    rows, columns = np.arange(len(image))[:, None], np.arange(image.shape[1])
    return int((image != (int(image[0, 0]) + rows + columns) % RAMP).sum())


@pytest.mark.parametrize(
    "frames",
    [60, pytest.param(560, marks=pytest.mark.heavy)],  # it counts from 65000, and behind 65535 from 1
)
def test_it_gives_every_frame(camera: FakeGigeCamera, frames: int) -> None:
    camera.start()
    with opened(1000.0) as one:
        assert one.serial == SERIAL
        grabs = []
        for number in range(frames):
            grab = read(one)
            assert (grab.sequence, grab.first_line, grab.lines) == (number, number * LINES, LINES)
            assert (grab.fault, grab.encoded, grab.along_mm) == (None, False, float(number * LINES))
            assert grab.image is not None
            assert number % 40 or not wrong_pixels(grab.image)
            grabs.append(grab.captured_ns)
    assert grabs == sorted(grabs)


def test_of_a_frame_with_lost_packets_the_leading_lines_are_given_and_no_line_is_counted_twice(
    camera: FakeGigeCamera,
) -> None:
    camera.start(lost_per_thousand=8)
    with opened(200.0, frame_retention_ms=20.0, packet_resend=False) as one:
        grabs = []
        for _ in range(150):
            grab = read(one)
            grabs.append(replace(grab, image=None if grab.image is None else grab.image.copy()))
    reached = 0
    for grab in grabs:
        lost = grab.first_line - reached  # frames without one packet
        assert lost % LINES == 0
        assert lost >= 0
        reached = grab.first_line + grab.lines
        assert grab.lines == LINES
        if grab.fault is None:
            assert grab.image is not None
            assert len(grab.image) == LINES
        else:
            assert grab.fault is Cause.TRUNCATED
            assert grab.image is None or len(grab.image) < LINES
        assert grab.image is None or wrong_pixels(grab.image) == 0
    cut = [len(grab.image) for grab in grabs if grab.fault and grab.image is not None]
    assert len(cut) > 10
    assert max(cut) - min(cut) > LINES // 2


@pytest.mark.parametrize("gone", [pytest.param("killed", marks=pytest.mark.heavy), "stopped"])
def test_a_camera_that_is_gone_is_lost_and_can_be_opened_again_when_it_is_back(
    camera: FakeGigeCamera, gone: str
) -> None:
    """Without a trigger, since then silence alone tells nothing."""
    camera.start()
    with opened(trigger=None, camera=SERIAL, frame_retention_ms=20.0) as one:
        read(one)
        (camera.kill if gone == "killed" else camera.pause)()
        with pytest.raises(SourceError, match=r"^camera LW01 \(Aravis Fake, 127.0.0.1\) answers no more, .*; check "):
            read_on(one)
        assert one.read() is None
    with pytest.raises(SourceError, match=r"camera LW01 does not answer at 127.0.0.1, where it was, expected"):
        find_camera(SERIAL)
    camera.start() if gone == "killed" else camera.resume()

    def first() -> bool:
        try:
            with opened(camera=SERIAL) as again:
                return read(again).image is not None
        except SourceError:
            return False

    assert wait_until(first)


def test_a_free_running_camera_that_is_silent_is_lost(camera: FakeGigeCamera) -> None:
    camera.start()
    with opened(0.5, silence_s=0.2) as one:
        with pytest.raises(SourceError, match=r"sent nothing for 0.2 s, expected frames"):
            read_on(one)
        assert one.read() is None


def test_a_standing_line_is_no_loss_and_the_wait_ends_with_stop(camera: FakeGigeCamera) -> None:
    camera.start()
    with opened(trigger="frame", trigger_source="Software") as one:
        reader = threading.Thread(target=one.read)
        reader.start()
        reader.join(0.5)
        assert reader.is_alive()
        one.stop()
        reader.join(60)
        assert not reader.is_alive()


def test_a_camera_that_another_program_holds_is_refused_with_its_holder(camera: FakeGigeCamera) -> None:
    camera.start()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, ADDRESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        held = "another program, which the camera does not name"
        assert holder_of(ADDRESS) == held
        with pytest.raises(SourceError, match=rf"is held by {held}, expected a camera that is free; end that program"):
            opened().__enter__()
        holder.communicate()
    assert wait_until(lambda: holder_of(ADDRESS) is None)


@pytest.mark.parametrize(
    ("settings", "refusal"),
    [
        (
            {"pixel_format": "Mono12", "black_level": 0, "white_level": 4000},
            r"\[source\] pixel_format = 'Mono12': PixelFormat of camera LW01 .* expects one of .*Mono8.*; correct",
        ),
        ({"features": {"Widht": 3}}, r"camera LW01 .* has no feature Widht: the nearest are Width.*`linewatch cameras"),
        ({"features": {"GainRaw": 11}}, r"features\] GainRaw = 11: GainRaw of camera LW01 .* expects 0 to 10; correct"),
        ({"features": {"GainRaw": 1.5}}, r"GainRaw of camera .* is a feature of type integer, expected a whole number"),
        ({"exposure_us": 1.0}, r"\[source\] exposure_us = 1: ExposureTimeAbs of camera .* expects 10 to 1e\+07"),
        ({"trigger": "line", "trigger_source": "Line0"}, r"TriggerSelector of camera .* expects one of FrameStart, "),
        ({"encoder_chunk": "ChunkEncoderValue"}, r"has no chunks .* expects ChunkEncoderValue; take encoder_chunk"),
        ({"packet_size": 16_000, "features": {"Width": 3000}}, r"Width = 3000: Width of camera .* expects 1 to 2048"),
    ],
)
def test_a_setting_that_the_camera_cannot_take_is_refused(
    camera: FakeGigeCamera, settings: dict[str, Any], refusal: str
) -> None:
    camera.start()
    with pytest.raises(ConfigError, match=refusal) as refused:
        opened(**settings).__enter__()
    assert "\n" not in str(refused.value)


def test_a_width_that_the_sensor_does_not_have_is_refused(camera: FakeGigeCamera) -> None:
    camera.start()
    line = LineSettings(width_px=4096, frame_lines=LINES)
    with pytest.raises(ConfigError, match=r"\[line\] width_px = 4096: Width of camera .* expects 1 to 2048"):
        source().open(line, MonotonicClock(), live=True).__enter__()


def test_packed_pixels_come_through_the_window_and_features_by_selector(camera: FakeGigeCamera, tmp_path: Path) -> None:
    levels = np.random.default_rng(5).integers(0, 4096, (3, LINES, WIDTH), dtype=np.uint16)
    form = mono_format("Mono12Packed")
    camera.play(np.stack([packed(form, one) for one in levels]), tmp_path, genicam=camera_description())
    settings = {"pixel_format": form.name, "black_level": 200, "white_level": 3800}
    with opened(50.0, **settings, features={"TriggerMode[TriggerSelector=FrameStart]": "Off"}) as one:
        shown = [np.array(read(one).image) for _ in range(3)]
    expected = np.clip(np.rint((levels.astype(float) - 200) * 255 / 3600), 0, 255)
    assert [np.abs(a - b).max() for a, b in zip(shown, expected, strict=True)] == [0, 0, 0]


def test_counters_in_chunks_place_each_line_also_behind_lost_ones(camera: FakeGigeCamera, tmp_path: Path) -> None:
    """Frame 10 is not sent, and three lines pass unseen before every seventh; the encoder's counter rolls over. Some
    packets come only because they are asked for.
    """
    camera.send_chunks(tmp_path)
    counted = {"encoder_chunk": "ChunkEncoderValue", "line_chunk": "ChunkLineCounter"}
    mine = f"process {os.getpid()} "
    with opened(trigger=None, **counted) as one:
        grabs = [read(one) for _ in range(14)]
        assert re.match(rf"{mine}\(.*\) of this host \({ADDRESS}, port \d+\)$", holder_of(ADDRESS) or "")
        with pytest.raises(SourceError, match=rf"is held by {mine}.* of this host .*; end that program"):
            opened().__enter__()
    assert [grab.sequence for grab in grabs] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14]
    firsts = [number * LINES + 3 * ((number + 1) // 7) for number in (*range(9), *range(10, 15))]
    assert [grab.first_line for grab in grabs] == firsts
    with opened(trigger=None, packet_resend=False, frame_retention_ms=10.0, **counted) as one:
        cut = [read(one) for _ in range(14)]
    without, with_resend = (sum(grab.fault is Cause.TRUNCATED for grab in some) for some in (cut, grabs))
    assert without >= 4
    assert with_resend < without - 1  # a busy machine may ask too late
    for grab in (*grabs, *cut):
        assert grab.encoded
        assert grab.encoder_count == ((1 << 32) - 3000 + 4 * grab.first_line) % (1 << 32)
    refused = r"chunk ChunkFoo: camera LW01 .* has no such chunk, expected one of ChunkEncoderValue, ChunkLineCounter"
    with pytest.raises(ConfigError, match=refused):
        opened(trigger=None, line_chunk="ChunkFoo").__enter__()


def test_a_picture_of_another_pixel_format_is_no_picture(camera: FakeGigeCamera) -> None:
    """Another program changes it behind our back."""
    camera.start()
    with opened() as one:
        read(one)
        connection = one._connection
        assert connection is not None
        connection.device.set_string_feature_value("PixelFormat", "BayerGR8")
        found = wait_until(lambda: grab if (grab := read(one)).fault is Cause.COLOUR else None)
    assert found.image is None


def test_the_commands_list_show_and_grab(
    camera: FakeGigeCamera, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*words: str) -> Any:
        assert main(["cameras", *words, "--json"]) == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1])  # behind the log, which is not set up here

    assert told() == []
    assert main(["cameras"]) == 0
    assert "no camera answers; check power" in capsys.readouterr().out
    camera.start()
    (found,) = told()
    assert found.items() >= {"vendor": "Aravis", "model": "Fake", "serial": SERIAL, "address": ADDRESS}.items()
    assert found["holder"] is None
    features = {one["name"]: one for one in told("show", SERIAL)["features"]}
    assert features["Width"].items() >= {"value": 512, "low": 1, "high": 2048, "type": "integer"}.items()
    assert "Mono8" in features["PixelFormat"]["entries"]
    assert {one["name"] for one in told("show", SERIAL, "binning")["features"]} == {
        "BinningHorizontal",
        "BinningVertical",
    }
    picture = tmp_path / "look.png"
    seen = told("grab", SERIAL, "--out", str(picture))
    image = cv2.imread(str(picture), cv2.IMREAD_UNCHANGED)
    assert image.shape == (512, 512)
    assert wrong_pixels(image) == 0
    assert seen["mean"] == pytest.approx(image.mean(), abs=0.1)
    assert told("show", ADDRESS, "Width")["camera"]["serial"] == SERIAL
    for words, error in (
        (["grab", "XX", "--out", str(picture)], "no camera XX answers: found camera LW01"),
        (["grab", SERIAL, "--out", str(tmp_path / "a.jpg")], "expected .png; rename it"),
    ):
        assert main(["cameras", *words]) in {2, 3}
        assert error in capsys.readouterr().err
