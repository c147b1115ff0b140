"""The disk gets full: pixels go first, then decisions wait; when there is room again, all of them are stored, once."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from history_process import PATIENCE_S, STARTED, start_history, stored_frames, wait_for, write_config

import linewatch
from linewatch.config.history import ImageSettings

pytestmark = pytest.mark.service

DISK_MB, LEAST_FREE_MB = 48, 20
PROGRAM = Path(__file__).parents[1] / "support" / "small_disk.py"


@pytest.fixture
def log_of(tmp_path):
    return (tmp_path / "history.log").read_text


class SmallDisk:
    """See small_disk.py for the questions. Skips the test where users may have no mounts of their own."""

    def __init__(self, folder: Path, config: Path) -> None:
        folder.mkdir()
        with config.with_suffix(".log").open("a") as log:
            self._process = subprocess.Popen(
                [
                    *("unshare", "--user", "--map-root-user", "--mount", "--kill-child"),
                    *(sys.executable, PROGRAM, folder, str(DISK_MB), config),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONPATH": str(Path(linewatch.__file__).parents[1])},
            )
        STARTED.append(self._process)
        if self._process.stdout.readline() != "mounted\n":
            said = config.with_suffix(".log").read_text().strip().splitlines()
            pytest.skip(f"no namespace with a mount of one's own here: {said[-1]}")

    def ask(self, question: str):
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)


@pytest.mark.timeout(300)
def test_pixels_go_first_and_decisions_last(start_service, history_of, tmp_path, log_of):
    service, mounted = start_service(), tmp_path / "disk"
    settings = history_of(
        service,
        database=f"sqlite:///{mounted}/history.sqlite",
        images=ImageSettings(dir=mounted / "images", min_free_mb=LEAST_FREE_MB),
    )
    disk = SmallDisk(mounted, write_config(tmp_path / "history.toml", settings))
    service.tell("coil started")
    service.tell("frames 1 1")
    frames = 1
    wait_for(lambda: disk.ask("frames") == frames)  # it listens: pictures are told once

    def decide(count: int, severity: int, runs: int = 3) -> None:
        nonlocal frames
        service.tell(f"frames {count} {runs}")
        service.tell(f"crops {count} 700 {severity}")  # half a megabyte each
        frames += count

    for severity in (1, 5, 3):
        decide(3, severity)
    wait_for(lambda: disk.ask("pictures") == [1, 1, 1, 3, 3, 3, 5, 5, 5])
    assert disk.ask("frames") == frames

    disk.ask(f"fill {LEAST_FREE_MB - 0.5}")  # 2.5 MB more are to be free
    wait_for(lambda: len(disk.ask("pictures")) < 9)
    left = disk.ask("pictures")
    assert len(left) > 2
    assert left == [1, 1, 1, 3, 3, 3, 5, 5, 5][-len(left) :]
    disk.ask(f"fill {LEAST_FREE_MB - 10}")  # more than all pictures take
    wait_for(lambda: disk.ask("pictures") == [])
    decide(3, 5)
    wait_for(lambda: "image_storing_stopped" in log_of())
    wait_for(lambda: disk.ask("frames") == frames)
    assert disk.ask("pictures") == []

    disk.ask("fill 0")
    for _ in range(8):
        decide(10, 5, runs=2000)  # 2 MB of outlines: the service's journal holds 8
    wait_for(lambda: "history_write_failed" in log_of())
    assert "disk is full" in log_of() or "disk I/O error" in log_of()
    assert disk.ask("frames") < frames

    disk.ask("free")
    wait_for(lambda: disk.ask("frames") == frames)
    wait_for(lambda: decide(1, 4) or disk.ask("pictures"))  # it may still have been waiting to try again
    assert "image_storing_resumed" in log_of()
    wait_for(lambda: disk.ask("frames") == frames)
    assert disk.ask("found") == [frames, frames, [1], 0]
    assert disk.ask("end") == 0
    disk.close()


@pytest.mark.timeout(120)
def test_who_ends_it_while_it_cannot_write_is_told_by_the_exit_code(start_service, history_of, tmp_path, log_of):
    """What is not stored is still in the service's journal: the next start has it."""
    service = start_service()
    settings = history_of(service)
    config = write_config(tmp_path / "history.toml", settings)
    process = start_history(config)
    service.tell("coil started")
    service.tell("frames 2 2")
    wait_for(lambda: stored_frames(settings.database) == 2)
    other = sqlite3.connect(tmp_path / "history.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    service.tell("frames 5 2")
    wait_for(lambda: "history_write_failed" in log_of())
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 8
    other.execute("ROLLBACK")
    other.close()
    process = start_history(config)
    wait_for(lambda: stored_frames(settings.database) == 7)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
