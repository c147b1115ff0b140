"""A disk for a test that can get full, read-only, or go away: a small tmpfs."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class FailingDisk:
    """Mounted at `folder`."""

    def __init__(self, folder: Path, kilobytes: int) -> None:
        self.folder, self._kilobytes = folder, kilobytes
        folder.mkdir(exist_ok=True)
        self.mount()

    def mount(self) -> None:
        """Mount an empty disk."""
        _run("mount", "-t", "tmpfs", "-o", f"size={self._kilobytes}k", "linewatch-test", self.folder)

    def fill(self) -> None:
        """Leave no room at all."""
        free = os.statvfs(self.folder)
        with (self.folder / "ballast").open("wb", buffering=0) as file:
            file.write(bytes(free.f_bavail * free.f_frsize))

    def free(self) -> None:
        (self.folder / "ballast").unlink()

    def go_away(self) -> None:
        """As a disk that is pulled out: what is open stays open, and at the path is another disk."""
        _run("umount", "-l", self.folder)


def _run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")


@pytest.fixture
def failing_disk(tmp_path: Path) -> Iterator[FailingDisk]:
    disk = FailingDisk(tmp_path / "disk", 3_000)
    yield disk
    subprocess.run(["umount", "-l", str(disk.folder)], check=False, capture_output=True)
