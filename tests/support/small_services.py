"""A small service in a process of its own, with a real journal and real sockets, controlled by its standard input."""

from pathlib import Path

import pytest
import small_service
from forked import spoken_with


class SmallService:
    """See small_service.py for the commands. Endpoints stay the same over a restart."""

    def __init__(self, folder: Path, publish: str = "tcp://127.0.0.1:*", send_high_water: int = 1000) -> None:
        self._folder = folder
        self._high_water = send_high_water
        self.publish, self.serve = publish, "tcp://127.0.0.1:*"
        self.start()

    def start(self) -> None:
        arguments = self._folder, self.publish, self.serve, self._high_water
        self.process, self._wire = spoken_with(small_service.main, *arguments)
        self.publish, self.serve = self._wire.readline().split()

    def tell(self, command: str) -> None:
        """Send a command; return when it is done."""
        self._wire.write(command + "\n")
        self._wire.flush()
        assert self._wire.readline() == "done\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._wire.close()

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
