"""A small service in a process of its own, with a real journal and real sockets, controlled by its standard input."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import linewatch

SUPPORT = Path(__file__).parent
PROGRAM = Path(__file__).with_name("small_service.py")


class SmallService:
    """See small_service.py for the commands. Endpoints stay the same over a restart."""

    def __init__(self, folder: Path, publish: str = "tcp://127.0.0.1:*", send_high_water: int = 1000) -> None:
        self._folder = folder
        self._high_water = str(send_high_water)
        self.publish, self.serve = publish, "tcp://127.0.0.1:*"
        self.start()

    def start(self) -> None:
        paths = [str(Path(linewatch.__file__).parents[1]), str(SUPPORT)]
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, self._folder, self.publish, self.serve, self._high_water],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        self.publish, self.serve = self.process.stdout.readline().split()

    def tell(self, command: str) -> None:
        """Send a command; return when it is done."""
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def restart(self) -> None:
        self.kill()
        self.start()


@pytest.fixture
def start_service(tmp_path):
    """Starts services that end with the test."""
    started = []

    def start(**options) -> SmallService:
        started.append(SmallService(tmp_path / "journal", **options))
        return started[-1]

    yield start
    for service in started:
        service.kill()
