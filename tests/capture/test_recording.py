"""Recordings as cameras, and the recorder: what it writes is read back exactly."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from linewatch.capture.cameras.recording import RecordingCamera, RecordingSource, recorded_line
from linewatch.capture.clock import MonotonicClock
from linewatch.capture.recorder import Ended, Recorder, record
from linewatch.capture.sidecar import read_sidecar, sidecar_path
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Cause, Grab

LINE = LineSettings(width_px=320, frame_lines=64, mm_per_line=0.7, line_rate_hz=6400)
RNG = np.random.default_rng(5)
PICTURES = RNG.integers(0, 256, (40, 64, 320), dtype=np.uint8)


def same(one: Grab, other: Grab) -> bool:
    if (one.image is None) != (other.image is None):
        return False
    equal = one.image is None or np.array_equal(one.image, other.image)  # type: ignore[arg-type]
    return equal and replace(one, image=None) == replace(other, image=None)


def replayed(path: Path) -> list[Grab]:
    with RecordingCamera(path, LINE) as camera:
        return [
            replace(grab, image=None if grab.image is None else grab.image.copy()) for grab in iter(camera.read, None)
        ]


def plain(number: int, **over: object) -> Grab:
    grab = Grab(
        image=PICTURES[number],
        coil="A 1",
        sequence=number + 11,
        first_line=number * 64 + 7,
        lines=64,
        encoder_count=number * 300,
        along_mm=number * 44.8 + 0.1,
        mm_per_line=0.7,
        captured_ns=123_456_789_012_345 + number,
    )
    return replace(grab, **over)  # type: ignore[arg-type]


def odd_stream() -> list[Grab]:
    """Return gaps, two coils, short and truncated grabs, and everything that a video cannot hold."""
    black = np.zeros((64, 320), np.uint8)
    return [
        plain(0),
        plain(3),
        plain(4, image=PICTURES[4][:20]),
        plain(5, image=PICTURES[5][:30], lines=30),
        plain(6, image=None, fault=Cause.CORRUPT),
        plain(7, image=black),
        plain(8, image=black),
        plain(9, coil="B", first_line=0, encoded=False, along_mm=0.0),
        plain(10, coil="B", image=np.repeat(PICTURES[10][..., None], 3, -1)),
        plain(11, coil="B"),
    ]


def gray(grab: Grab) -> Grab:
    """Return the grab as it is stored: equal channels become one."""
    return grab if grab.image is None or grab.image.ndim == 2 else replace(grab, image=grab.image[..., 0])


def write(path: Path, grabs: Iterable[Grab], max_mb: float = 100) -> None:
    with Recorder(path, LINE, max_mb) as recorder:
        for grab in grabs:
            assert recorder.write(grab)


def make_video(path: Path, codec: str, count: int = 30) -> None:
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 25, (320, 64), isColor=False)
    assert video.isOpened()
    for number in range(count):
        video.write(PICTURES[number])
    video.release()


def spoil(path: Path, at: float, count: int) -> None:
    data = bytearray(path.read_bytes())
    first = int(len(data) * at)
    data[first : first + count] = np.random.default_rng(0).integers(0, 256, count, dtype=np.uint8).tobytes()
    path.write_bytes(data)


def test_replay_gives_exactly_what_was_recorded(tmp_path: Path) -> None:
    write(tmp_path / "a.avi", odd_stream())
    again = replayed(tmp_path / "a.avi")
    assert all(same(gray(one), other) for one, other in zip(odd_stream(), again, strict=True))
    assert recorded_line(tmp_path / "a.avi") == LINE


def test_pixels_that_a_video_cannot_hold_keep_their_fault(tmp_path: Path) -> None:
    strange = [
        plain(0),
        plain(1, image=PICTURES[1].astype(np.uint16)),
        plain(2, image=np.dstack([PICTURES[2], PICTURES[1], PICTURES[0]])),
        plain(3, image=PICTURES[3][:, :100]),
        plain(4),
    ]
    write(tmp_path / "a.avi", strange)
    again = replayed(tmp_path / "a.avi")
    assert [grab.fault for grab in again] == [None, Cause.DEPTH, Cause.COLOUR, Cause.WRONG_SIZE, None]
    assert all(
        same(replace(one, image=None, fault=other.fault), replace(other, image=None))
        for one, other in zip(strange, again, strict=True)
    )
    assert np.array_equal(again[4].image, PICTURES[4])  # type: ignore[arg-type]


def test_recording_can_be_recorded_again_unchanged(tmp_path: Path) -> None:
    write(tmp_path / "a.avi", odd_stream())
    with RecordingSource(type="recording", path=tmp_path / "a.avi").open(LINE, MonotonicClock(), live=False) as camera:
        summary = record(camera, tmp_path / "b.avi", LINE, 100)
    assert (summary.grabs, summary.ended) == (10, Ended.SOURCE)
    assert summary.lines == 9 * 64 + 30
    assert all(
        same(one, other) for one, other in zip(replayed(tmp_path / "a.avi"), replayed(tmp_path / "b.avi"), strict=True)
    )
    assert sidecar_path(tmp_path / "a.avi").read_bytes() == sidecar_path(tmp_path / "b.avi").read_bytes()


def test_size_bound_is_kept_and_said(tmp_path: Path) -> None:
    class Endless:
        live, grabs, number, serial = False, None, -1, "S-17"

        def read(self) -> Grab | None:
            self.number += 1
            return plain(self.number % 40, sequence=self.number)

        def stop(self) -> None: ...
        def __enter__(self) -> "Endless":
            return self

        def __exit__(self, *exc: object) -> None: ...

    seen: list[Grab] = []
    summary = record(Endless(), tmp_path / "a.avi", LINE, max_mb=2, on_grab=seen.append)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert summary.ended is Ended.SIZE
    assert size <= 2e6
    assert summary.size_mb == pytest.approx(size / 1e6)
    assert summary.grabs == len(seen) == len(replayed(tmp_path / "a.avi")) >= 40


def test_recorder_overwrites_nothing_and_says_what_is_wrong_with_a_place(tmp_path: Path) -> None:
    write(tmp_path / "a.avi", [plain(0)])
    with pytest.raises(SourceError, match="exists already"):
        Recorder(tmp_path / "a.avi", LINE, 10)
    with pytest.raises(SourceError, match=r"expected \.avi"):
        Recorder(tmp_path / "a.mp4", LINE, 10)
    with pytest.raises(SourceError, match="No such file"):
        Recorder(tmp_path / "absent" / "a.avi", LINE, 10)
    assert len(replayed(tmp_path / "a.avi")) == 1


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, {tests!r})
from test_recording import LINE, plain
from linewatch.capture.recorder import Recorder
recorder = Recorder(Path({path!r}), LINE, 1000)
for number in range(400):
    recorder.write(plain(number % 40, sequence=number, first_line=number * 64))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_recording_is_readable_after_a_kill(tmp_path: Path) -> None:
    """Each grab is in both files before the next one is read, so that not one is lost."""
    path = tmp_path / "a.avi"
    script = KILLED.format(tests=str(Path(__file__).parent), path=str(path))
    process = subprocess.run([sys.executable, "-c", script], check=False, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert process.returncode == -signal.SIGKILL
    again = replayed(path)
    assert [grab.sequence for grab in again] == list(range(400))
    assert all(same(grab, plain(i % 40, sequence=i, first_line=i * 64)) for i, grab in enumerate(again))


def test_half_written_last_line_of_the_sidecar_costs_its_grab(tmp_path: Path) -> None:
    write(tmp_path / "a.avi", odd_stream())
    sidecar = sidecar_path(tmp_path / "a.avi")
    sidecar.write_bytes(sidecar.read_bytes()[:-30])
    got = replayed(tmp_path / "a.avi")
    assert [grab.fault for grab in got[8:]] == [None, Cause.TRUNCATED]


@pytest.mark.parametrize("damage", ["", "{}\n", "not json\n", '{"schema_version": 2}\n'])
def test_foreign_sidecar_is_one_clear_error(tmp_path: Path, damage: str) -> None:
    write(tmp_path / "a.avi", odd_stream())
    sidecar_path(tmp_path / "a.avi").write_text(damage)
    with pytest.raises(SourceError, match=r"line 1: .*expected what `linewatch record` writes"):
        RecordingCamera(tmp_path / "a.avi", LINE)


def test_broken_line_within_a_sidecar_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.avi", odd_stream())
    sidecar = sidecar_path(tmp_path / "a.avi")
    rows = sidecar.read_text().splitlines()
    rows[4] = rows[4][:-20]
    sidecar.write_text("\n".join(rows) + "\n")
    with pytest.raises(SourceError, match="line 5"):
        read_sidecar(sidecar)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("mm_per_line", 0), ("mm_per_line", -1), ("mm_per_line", 1e300), ("along_mm", 1e15), ("lines", 10**12)),
        *(("sequence", 10**30), ("captured_ns", 10**30), ("encoder_count", 10**30), ("first_line", 10**15)),
    ],
)
def test_numbers_that_no_message_could_hold_are_refused_by_name(tmp_path: Path, field: str, value: float) -> None:
    write(tmp_path / "a.avi", [plain(number) for number in range(3)])
    sidecar = sidecar_path(tmp_path / "a.avi")
    rows = sidecar.read_text().splitlines()
    rows[2] = json.dumps(json.loads(rows[2]) | {field: value})
    sidecar.write_text("\n".join(rows) + "\n")
    with pytest.raises(SourceError, match=f"line 3: {field}: Input should be "):
        RecordingCamera(tmp_path / "a.avi", LINE)


def test_the_sidecar_of_another_video_is_refused(tmp_path: Path) -> None:
    for name, first in (("a", 0), ("b", 10)):
        write(tmp_path / f"{name}.avi", [plain(number) for number in range(first, first + 5)])
    sidecar_path(tmp_path / "a.avi").write_bytes(sidecar_path(tmp_path / "b.avi").read_bytes())
    with pytest.raises(SourceError, match=r"found 5 pictures, none of which is one of the 5 in a\.sidecar\.jsonl;"):
        RecordingCamera(tmp_path / "a.avi", LINE)


@pytest.mark.parametrize(("name", "said"), [("", "is empty"), ("a\\u0000b", r"U\+0000"), ("a\\u202eb", r"U\+202E")])
def test_a_coil_in_a_sidecar_is_named_like_any_other(tmp_path: Path, name: str, said: str) -> None:
    write(tmp_path / "a.avi", [replace(plain(number), coil="123/4 ä") for number in range(3)])
    assert {grab.coil for grab in replayed(tmp_path / "a.avi")} == {"123/4 ä"}
    write(tmp_path / "b.avi", [replace(plain(0), coil="a\0b")])  # as a camera's driver may call it
    assert [grab.coil for grab in replayed(tmp_path / "b.avi")] == ["a_b"]
    sidecar = sidecar_path(tmp_path / "a.avi")
    named = sidecar.read_text(encoding="utf-8").replace("123/4 ä", name)
    sidecar.write_text(named, encoding="utf-8")
    with pytest.raises(SourceError, match=rf"line 2: .*{said}"):
        read_sidecar(sidecar)


@pytest.mark.parametrize("codec", ["FFV1", "MJPG", "HFYU"])
@pytest.mark.parametrize("container", ["avi", "mkv"])
def test_video_without_a_sidecar_is_placed_by_line_rate(tmp_path: Path, codec: str, container: str) -> None:
    path = tmp_path / f"coil 9.{container}"
    make_video(path, codec)
    got = replayed(path)
    assert [grab.first_line for grab in got] == [number * 64 for number in range(30)]
    assert [grab.captured_ns for grab in got] == [10_000_000 * (number + 1) for number in range(30)]
    assert {grab.coil for grab in got} == {"coil 9"}
    assert not any(grab.encoded or grab.fault for grab in got)
    if codec == "FFV1":
        assert all(np.array_equal(grab.image, PICTURES[i]) for i, grab in enumerate(got))  # type: ignore[arg-type]


@pytest.mark.parametrize("codec", ["FFV1", "MJPG"])
def test_corrupt_middle_of_a_video_costs_the_frames_that_it_hit(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "a.avi"
    make_video(path, codec)
    before = replayed(path)
    spoil(path, 0.5, 30_000)
    got = replayed(path)
    assert [grab.first_line for grab in got] == [grab.sequence * 64 for grab in got]
    there = {grab.sequence for grab in got}
    bad = [grab.sequence for grab in got if grab.fault is Cause.CORRUPT]
    bad += [number for number in range(30) if number not in there]  # admission counts them as lost
    assert 1 <= len(bad) <= (14 if codec == "FFV1" else 6), "FFV1 by OpenCV needs its key frame, every 12th"
    # What comes behind the damage is the same pictures in the same places.
    assert all(same(grab, before[grab.sequence]) for grab in got if grab.sequence not in bad)
    assert got[-1].sequence == 29


def test_corrupt_middle_of_a_recording_costs_the_grabs_that_it_hit(tmp_path: Path) -> None:
    """However the bytes are damaged, a grab is either as recorded or corrupt."""
    path = tmp_path / "a.avi"
    stream = [plain(number) for number in range(30)]
    write(path, stream)
    spoil(path, 0.5, 30_000)
    got = replayed(path)
    bad = [i for i, grab in enumerate(got) if grab.fault is Cause.CORRUPT]
    assert 1 <= len(bad) <= 2 * 12, "up to the key frame after the damage"
    assert all(same(got[i], stream[i]) for i in range(30) if i not in bad)
    assert all(same(got[i], replace(stream[i], image=None, fault=Cause.CORRUPT)) for i in bad)


@pytest.mark.parametrize("recorded", [False, True])
def test_what_a_cut_video_lacks_is_truncated(tmp_path: Path, recorded: bool) -> None:
    path = tmp_path / "a.avi"
    write(path, [plain(number) for number in range(30)])
    if not recorded:
        sidecar_path(path).unlink()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    got = replayed(path)
    assert len(got) == 30
    faults = [grab.fault for grab in got]
    assert faults[:10] == [None] * 10
    assert faults[-10:] == [Cause.TRUNCATED] * 10


def test_source_that_is_no_recording_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        RecordingCamera(tmp_path / "absent.avi", LINE)
    with pytest.raises(SourceError, match="is not a file"):
        RecordingCamera(tmp_path, LINE)
    for content in (b"", b"text, not video\n" * 100):
        (tmp_path / "text.avi").write_bytes(content)
        with pytest.raises(SourceError, match="expected a video of 8-bit gray frames"):
            RecordingCamera(tmp_path / "text.avi", LINE)


def test_recording_without_a_grab_is_one_clear_error(tmp_path: Path) -> None:
    write(tmp_path / "a.avi", [])
    with pytest.raises(SourceError, match=r"no grab|cannot be opened"):
        RecordingCamera(tmp_path / "a.avi", LINE)
    make_video(tmp_path / "b.avi", "FFV1", 0)
    with pytest.raises(SourceError, match=r"no frame|without a frame"):
        RecordingCamera(tmp_path / "b.avi", LINE)


@pytest.mark.parametrize("recorded", [False, True])
def test_recording_of_another_width_is_one_clear_error(tmp_path: Path, recorded: bool) -> None:
    path = tmp_path / "a.avi"
    write(path, [plain(0), plain(1)])
    if not recorded:
        sidecar_path(path).unlink()
    with pytest.raises(SourceError, match=r"320 px x 64 lines, \[line\] expects 1600 x 256"):
        RecordingCamera(path, LineSettings())


def test_stop_ends_it(tmp_path: Path) -> None:
    write(tmp_path / "a.avi", [plain(0), plain(1)])
    with RecordingCamera(tmp_path / "a.avi", LINE) as camera:
        assert camera.grabs == 2
        assert camera.read() is not None
        camera.stop()
        assert camera.read() is None


def test_damage_is_told_by_us_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """OpenCV and FFmpeg print nothing to stderr, which holds the service's log."""
    make_video(tmp_path / "a.avi", "FFV1")
    spoil(tmp_path / "a.avi", 0.5, 30_000)
    replayed(tmp_path / "a.avi")
    (tmp_path / "text.avi").write_text("text")
    with pytest.raises(SourceError):
        RecordingCamera(tmp_path / "text.avi", LINE)
    assert capfd.readouterr().err == ""
