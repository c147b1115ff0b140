"""What a service manager hears, on a real socket of its own."""

import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from linewatch.systemd import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A bound socket that $NOTIFY_SOCKET names."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@linewatch-{secrets.token_hex(8)}"
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0", 1))
        listening.settimeout(5.0)
        yield listening


def test_each_state_is_a_datagram_of_assignments(manager: socket.socket) -> None:
    notifier = Notifier()
    notifier.ready()
    notifier.alive("C-1 12.0 m, größer")
    notifier.unhealthy("silent: engine-0")
    notifier.stopping()
    assert [manager.recv(4096).decode() for _ in range(4)] == [
        "READY=1",
        "WATCHDOG=1\nSTATUS=C-1 12.0 m, größer",
        "STATUS=silent: engine-0",
        "STOPPING=1",
    ]


def test_a_status_of_several_lines_assigns_nothing_else(manager: socket.socket) -> None:
    Notifier().unhealthy("disk full\nWATCHDOG=1")
    assert manager.recv(4096).decode() == "STATUS=disk full WATCHDOG=1"


@pytest.mark.parametrize("name", ["", "/nowhere/notify", "@nobody-listens"])
def test_without_a_manager_nothing_happens(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    notifier = Notifier()
    notifier.ready()
    notifier.alive("well")
    notifier.stopping()
