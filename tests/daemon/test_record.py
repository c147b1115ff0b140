"""`linewatch record` on disks that fail: it ends with exit 3, says what is kept, and that replays."""

import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from waiting import wait_until

from linewatch.capture.cameras.recording import RecordingCamera
from linewatch.capture.clock import MonotonicClock
from linewatch.capture.recorder import Recorder, record
from linewatch.capture.sidecar import read_sidecar, sidecar_path
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Grab
from linewatch.simulation.camera import SimulatorCamera
from linewatch.simulation.encoder import SpeedProfile
from linewatch.simulation.strip import SimulatedStrip

LINE = LineSettings()
CONFIG = """
[source]
type = "simulator"
length_m = 40
"""
pytestmark = [pytest.mark.service, pytest.mark.slow]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "small", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def command(tmp_path: Path, out: Path) -> list[str]:
    config = tmp_path / "record.toml"
    config.write_text(CONFIG)
    return [sys.executable, "-m", "linewatch.cli", "record", str(config), "--out", str(out)]


def check_kept(path: Path, message: str, reason: str) -> int:
    """Check the words, that every grab of the sidecar replays with its picture, and that the words count them."""
    said = re.search(rf"stopped after (\d+) grabs, ([\d.]+) m: {reason}.*; kept are (\d+) grabs, ([\d.]+) m", message)
    assert said is not None, message
    assert said[1] == said[3]
    kept = int(said[3])
    with RecordingCamera(path, LINE) as camera:
        grabs = list(iter(camera.read, None))
    assert len(grabs) == len(read_sidecar(sidecar_path(path)).grabs) == kept > 0
    assert [grab.fault for grab in grabs] == [None] * kept
    assert float(said[4]) == pytest.approx(sum(grab.lines for grab in grabs) * LINE.mm_per_line / 1000, abs=0.05)
    return kept


def test_a_full_disk_ends_with_what_is_kept(tmp_path: Path, small_disk: Path) -> None:
    out = small_disk / "a.avi"
    ended = subprocess.run(command(tmp_path, out), capture_output=True, text=True, check=False)
    assert ended.returncode == 3, ended.stderr
    assert check_kept(out, ended.stderr, "No space left on device; free space on the disk") >= 5


def test_a_disk_that_was_full_before_keeps_no_torn_files(tmp_path: Path, small_disk: Path) -> None:
    with (small_disk / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    ended = subprocess.run(command(tmp_path, small_disk / "a.avi"), capture_output=True, text=True, check=False)
    assert ended.returncode == 3
    assert "No space left on device" in ended.stderr
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


def test_a_limit_of_file_size_ends_with_what_is_kept(tmp_path: Path) -> None:
    """As a quota does."""
    out = tmp_path / "a.avi"
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))  # noqa: E731
    ended = subprocess.run(command(tmp_path, out), capture_output=True, text=True, check=False, preexec_fn=limit)
    assert ended.returncode == 3, ended.stderr
    assert check_kept(out, ended.stderr, "File too large; raise the limit") >= 4


def test_a_kill_loses_no_grab_that_was_written(tmp_path: Path) -> None:
    out = tmp_path / "a.avi"
    process = subprocess.Popen(command(tmp_path, out), stderr=subprocess.DEVNULL)
    wait_until(lambda: out.exists() and out.stat().st_size > 1_000_000)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with RecordingCamera(out, LINE) as camera:
        grabs = list(iter(camera.read, None))
    assert len(grabs) >= len(read_sidecar(sidecar_path(out)).grabs) >= 4
    faults = [grab.fault for grab in grabs]
    assert not any(faults[:-1]), "at most the last picture is without its row"


def test_a_folder_that_vanishes_is_no_success(tmp_path: Path) -> None:
    out = tmp_path / "folder" / "a.avi"
    process = subprocess.Popen(command(tmp_path, out), stderr=subprocess.PIPE, text=True)
    wait_until(lambda: out.exists() and out.stat().st_size > 500_000)
    shutil.rmtree(out.parent)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "was removed or replaced; choose a folder that stays, and record again; nothing is kept" in said


def test_a_disk_that_becomes_read_only_ends_with_what_is_kept(tmp_path: Path) -> None:
    """The writer's descriptor is replaced by one that cannot write, since files that are open stop a remount."""
    recorder = Recorder(tmp_path / "a.avi", LINE, 100)
    assert recorder.write(simulated(1)[0])
    recorder._file._file.close()
    recorder._file._file = (tmp_path / "a.avi").open("rb", buffering=0)  # type: ignore[assignment]
    with recorder, pytest.raises(SourceError, match="record again"):
        recorder.write(simulated(2)[1])
    with RecordingCamera(tmp_path / "a.avi", LINE) as camera:
        assert [grab.fault for grab in iter(camera.read, None)] == [None]


def simulated(count: int) -> list[Grab]:
    strip = SimulatedStrip(7, 5, 1.0, LINE)
    camera = SimulatorCamera(strip, SpeedProfile.typical(5000, 10_000), MonotonicClock(), "A", live=False)
    return [camera.read() for _ in range(count)]  # type: ignore[misc]


class Wrapped:
    """Gives the grabs, and calls something before the last."""

    live = False
    serial = ""

    def __init__(self, grabs: list[Grab], before_last: Callable[[], None]) -> None:
        self.grabs: int | None = len(grabs)
        self._rest, self._before_last = list(grabs), before_last

    def read(self) -> Grab | None:
        if len(self._rest) == 1:
            self._before_last()
        return self._rest.pop(0) if self._rest else None

    def stop(self) -> None: ...
    def __enter__(self) -> "Wrapped":
        return self

    def __exit__(self, *exc: object) -> None: ...


def test_what_the_disk_changed_behind_our_back_is_found_by_reading_back(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"

    def spoil() -> None:
        data = bytearray(path.read_bytes())
        size = len(data) // 4
        with path.open("r+b") as file:  # the same file, other bytes: the headers of two pictures
            file.seek(size)
            file.write(bytes(2 * size))

    with pytest.raises(SourceError, match=r"the disk does not hold what was written; of 5 pictures [1-4] can be read"):
        record(Wrapped(simulated(5), spoil), path, LINE, 100)


def test_a_camera_that_is_lost_leaves_what_is_kept(tmp_path: Path) -> None:
    def lose() -> None:
        raise SourceError("the camera is gone")

    with pytest.raises(SourceError, match="the camera is gone; kept are 4 grabs") as caught:
        record(Wrapped(simulated(5), lose), tmp_path / "a.avi", LINE, 100)
    check_kept(tmp_path / "a.avi", str(caught.value), "the camera is gone")


def test_damage_to_a_recording_without_its_sidecar_costs_one_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    record(Wrapped(simulated(6), lambda: None), path, LINE, 100)
    sidecar_path(path).unlink()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with RecordingCamera(path, LINE) as camera:
        faults = [grab.fault for grab in iter(camera.read, None)]
    assert np.count_nonzero([fault is not None for fault in faults]) == 1
