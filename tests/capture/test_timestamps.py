"""Positions from the times of frames: as exact as the times, with a fault where a time is implausible."""

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numbered_strip import ListCamera, NumberedStrip, line_numbers
from structlog.testing import capture_logs

from linewatch.capture.admission import Admission
from linewatch.capture.cameras.folder import FolderSource
from linewatch.capture.cameras.recording import RecordingSource
from linewatch.capture.cameras.source import SourceSettings
from linewatch.capture.clock import MonotonicClock
from linewatch.capture.position.names import name_time_ns
from linewatch.capture.position.timestamps import Timeline, TimestampedCamera
from linewatch.capture.recorder import Recorder
from linewatch.capture.ring import FrameRing
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Cause, Frame, Grab, PositionFault
from linewatch.contracts.ports import Camera

LINE = LineSettings(width_px=32, frame_lines=16, mm_per_line=2.0, line_rate_hz=1000)
FRAME_NS = 16_000_000
BEGUN_NS = 1_795_269_785_000_000_000


def opened(source: SourceSettings) -> Camera:
    return source.open(LINE, MonotonicClock(), live=False)


def placed(times_ns: list[int | None], longest_gap_s: float = 1.0) -> list[tuple[int, PositionFault | None]]:
    timeline, found = Timeline(), []
    for time_ns in times_ns:
        timeline, first, fault = timeline.step(16, time_ns, LINE, longest_gap_s)
        found.append((first, fault))
    return found


@given(
    lost=st.lists(st.integers(0, 50), min_size=1, max_size=40),
    late_ns=st.lists(st.integers(0, FRAME_NS // 4), min_size=40, max_size=40),
    untold=st.sets(st.integers(1, 39)),
)
def test_each_grab_lies_where_its_time_says_to_the_line_where_times_are_exact(lost, late_ns, untold):
    """With lost grabs, jitter of up to a quarter of a frame, and missing times."""
    numbers = np.cumsum([0, *(1 + gap for gap in lost[:-1])]).tolist()
    exact = placed([BEGUN_NS + number * FRAME_NS for number in numbers], 100.0)
    assert exact == [(16 * number, None) for number in numbers]
    jittered = [BEGUN_NS + number * FRAME_NS + late_ns[i] for i, number in enumerate(numbers)]
    for (first, fault), number in zip(placed(jittered, 100.0), numbers, strict=True):
        assert fault is None
        assert abs(first - 16 * number) <= 8
    told = [None if i in untold else BEGUN_NS + number * FRAME_NS for i, number in enumerate(numbers)]
    for i, ((first, _), number) in enumerate(zip(placed(told, 100.0), numbers, strict=True)):
        assert first <= 16 * number
        assert i in untold or first == 16 * number


@given(st.lists(st.none() | st.integers(-(2**62), 2**62), max_size=60), st.floats(0.001, 3600))
def test_whatever_times_say_no_line_is_placed_twice(times_ns, longest_gap_s):
    end = 0
    for first, _ in placed(times_ns, longest_gap_s):
        assert first >= end
        end = first + 16


def test_a_clock_that_is_a_little_off_costs_no_line():
    """With a line rate 0.1 % above, then below the settings, half frames are missing and none comes twice."""
    for ratio in (0.999, 1.001):
        ends = [first + 16 for first, fault in placed([BEGUN_NS + round(n * FRAME_NS * ratio) for n in range(4000)])]
        assert ends[-1] == pytest.approx(64_000 * max(1.0, ratio), abs=16)


def test_times_that_cannot_be_are_said_and_the_next_good_one_is_believed():
    steps_ns = [0, 1, 2, 2, 3, 4, -1000, -999, -998, 10**6, 10**6 + 1]
    found = placed([BEGUN_NS + step * FRAME_NS for step in steps_ns])
    faults = {number: fault for number, (_, fault) in enumerate(found) if fault}
    assert faults == {3: PositionFault.STUCK, 6: PositionFault.JUMPED, 9: PositionFault.JUMPED}
    assert [first for first, _ in found] == [16 * number for number in range(11)]


def images(folder: Path, names: list[str]) -> Path:
    strip = NumberedStrip(10_000, LINE)
    for number, name in enumerate(names):
        cv2.imwrite(str(folder / name), strip.lines(16 * number, 16))
    return folder


def admitted(camera: Camera) -> list[Frame]:
    admission = Admission(LINE, CaptureSettings(), FrameRing(64, LINE.frame_lines, LINE.width_px))
    with camera:
        return [frame for grab in iter(camera.read, None) for frame in admission.admit(grab)]


def test_a_folder_by_the_times_in_its_names_tells_what_was_lost(tmp_path: Path) -> None:
    """The third of four images 16 ms apart is missing: its strip is missed, and no grab is encoded."""
    names = [f"cam1_20261121T140305.{ms:03d}.png" for ms in (0, 16, 48, 64)]
    source = FolderSource(type="folder", path=images(tmp_path, names), times="name")
    frames = admitted(opened(source))
    assert [(frame.first_line, frame.lines, frame.fault) for frame in frames] == [
        (0, 16, None),
        (16, 16, None),
        (32, 16, Cause.LOST),
        (48, 16, None),
        (64, 16, None),
    ]
    assert [frame.along_mm for frame in frames] == [0.0, 32.0, 64.0, 96.0, 128.0]
    assert not any(frame.encoded for frame in frames)
    assert line_numbers(frames[3].pixels)[0] == 32  # type: ignore[arg-type]


def test_a_folder_by_the_times_of_its_files(tmp_path: Path) -> None:
    folder = images(tmp_path, ["1.png", "2.png", "3.png"])
    for name, step in (("1.png", 0), ("2.png", 3), ("3.png", 2)):
        os.utime(folder / name, ns=(BEGUN_NS, BEGUN_NS + step * FRAME_NS))
    with capture_logs() as logs:
        frames = admitted(opened(FolderSource(type="folder", path=folder, times="mtime")))
    shown = [(frame.first_line, frame.position_fault) for frame in frames if frame.pixels is not None]
    assert shown == [(0, None), (48, None), (64, PositionFault.JUMPED)]
    assert [log["fault"] for log in logs if log["event"] == "timestamp_implausible"] == ["jumped"]


def test_names_without_a_time_are_said_and_all_without_one_refused(tmp_path: Path) -> None:
    folder = images(tmp_path, ["a.png", "b_1795269785016.png"])
    with capture_logs() as logs:
        assert len(admitted(opened(FolderSource(type="folder", path=folder, times="name")))) == 2
    (told,) = [log for log in logs if log["event"] == "images_without_time"]
    assert (told["images"], told["first"]) == (1, "a.png")
    (folder / "b_1795269785016.png").unlink()
    with pytest.raises(SourceError, match=r"none of 1 images has a time, the first is a\.png; expected"):
        opened(FolderSource(type="folder", path=folder, times="name"))


def test_two_cameras_in_one_folder_are_refused_with_times_as_well(tmp_path: Path) -> None:
    folder = images(tmp_path, [f"cam{camera}_{1795269785000 + 16 * n}.png" for n in range(4) for camera in (1, 2)])
    for times in ("name", "mtime"):
        with pytest.raises(SourceError, match="found 2 series of pictures side by side"):
            opened(FolderSource(type="folder", path=folder, times=times))
    one = FolderSource(type="folder", path=folder, times="name", pattern="cam2_*")
    assert [frame.first_line for frame in admitted(opened(one))] == [0, 16, 32, 48]


def test_times_in_names_put_images_in_order_and_counters_are_no_times(tmp_path: Path) -> None:
    folder = images(tmp_path, ["1795269785.9.png", "1795269785.916.png", "1795269785.95.png"])
    source = FolderSource(type="folder", path=folder, times="name")
    shown = [frame.first_line for frame in admitted(opened(source)) if frame.pixels is not None]
    assert shown == [0, 16, 50]
    for name in folder.iterdir():
        name.unlink()
    images(folder, [f"{number:010d}.png" for number in range(3)])
    with pytest.raises(SourceError, match=r"none of 3 images has a time.*counters in the names tell what is missing"):
        opened(source)


def recording(path: Path, *, encoded: bool) -> RecordingSource:
    strip = NumberedStrip(1000, LINE)
    with Recorder(path, LINE, 10) as recorder:
        for number, step in enumerate((0, 1, 4)):
            image = strip.lines(16 * number, 16)
            time_ns = step * FRAME_NS
            grab = Grab(image, "R", number, 16 * number, 16, 16 * number, 32.0 * number, 2.0, time_ns, encoded=encoded)
            recorder.write(grab)
    return RecordingSource(type="recording", path=path, times="sidecar")


def test_a_recording_without_encoder_by_the_times_of_its_sidecar(tmp_path: Path) -> None:
    frames = admitted(opened(recording(tmp_path / "r.avi", encoded=False)))
    assert [frame.first_line for frame in frames if frame.pixels is not None] == [0, 16, 64]
    assert sum(frame.lines for frame in frames) == 80
    assert not any(frame.encoded for frame in frames)


def test_times_are_refused_where_there_are_none_or_something_better(tmp_path: Path) -> None:
    source = recording(tmp_path / "r.avi", encoded=True)
    with pytest.raises(SourceError, match="an encoder placed the grabs"):
        opened(source)
    (tmp_path / "r.sidecar.jsonl").unlink()
    with pytest.raises(SourceError, match=r"has no sidecar; expected r\.sidecar\.jsonl beside it"):
        opened(source)


@pytest.mark.parametrize(
    ("stem", "expected_ns"),
    [
        ("1795269785", BEGUN_NS),
        ("cam1_1795269785123_0007", BEGUN_NS + 123_000_000),
        ("1795269785123456789", BEGUN_NS + 123_456_789),
        ("20261121T140305.123456", BEGUN_NS + 123_456_000),
        ("cam-2026-11-21_14-03-05", BEGUN_NS),
        ("20261121140305016", BEGUN_NS + 16_000_000),
        ("20261321T140305", None),
        ("frame_0012", None),
        ("17952697851", None),
        ("1795269785.123456", BEGUN_NS + 123_456_000),
        ("cam.1795269785.7", BEGUN_NS + 700_000_000),
        ("1795269785_123456789", BEGUN_NS + 123_456_789),
        ("1795269785_0007", BEGUN_NS),
        ("1795269785123.25", BEGUN_NS + 123_250_000),
        ("1795269785123456.75", BEGUN_NS + 123_456_750),
        ("1795269785.1234567891", BEGUN_NS + 123_456_789),
        ("2026-11-21T14-03-05,25Z", BEGUN_NS + 250_000_000),
        ("2026-11-21T14:03:05.123456", BEGUN_NS + 123_456_000),
        ("2026_11_21_14_03_05_016", BEGUN_NS + 16_000_000),
        ("20261121_140305_0007", BEGUN_NS),
        ("0000000001", None),
        ("cam_0000000012_x", None),
    ],
)
def test_what_a_name_tells(stem: str, expected_ns: int | None) -> None:
    assert name_time_ns(stem) == expected_ns


def test_grabs_of_another_coil_begin_at_its_head() -> None:
    plain = [Grab(None, "A", n, 0, 16, 0, 0.0, 2.0, 0, fault=Cause.CORRUPT) for n in range(4)]
    plain[2:] = [replace(grab, coil="B") for grab in plain[2:]]
    camera = TimestampedCamera(ListCamera(plain), LINE, [n * FRAME_NS for n in range(4)], 1.0)
    assert [grab.first_line for grab in iter(camera.read, None)] == [0, 16, 0, 16]
