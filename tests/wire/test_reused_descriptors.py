"""libzmq closes a connection before it tells so; meanwhile its number may stand for another file or connection."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from linewatch.wire.connections import Connections
from linewatch.wire.peers import UNKNOWN, address_behind


@pytest.fixture
def connections() -> Iterator[Connections]:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        yield Connections(router, "serve", unread_bytes=0)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_looking_at_a_number_that_a_file_has_taken_over_costs_no_descriptor(
    connections: Connections, tmp_path: Path
) -> None:
    """Each look kept a copy of the file: 20,000 of a journal's segment in a quarter of an hour of fuzzing."""
    ours, theirs = socket.socketpair()
    number = ours.fileno()
    connections.accepted(number)
    with (tmp_path / "segment").open("wb") as file:
        os.dup2(file.fileno(), number)
        before = open_files()
        for _ in range(50):
            assert address_behind(number) == UNKNOWN
            connections.close(number, "tests")
            connections.accepted(number)
        assert open_files() == before
    ours.close()
    theirs.close()


def test_another_connection_of_the_same_number_is_not_shut_down(connections: Connections) -> None:
    ours, theirs = socket.socketpair()
    other, peer = socket.socketpair()
    number = ours.fileno()
    connections.accepted(number)
    os.dup2(other.fileno(), number)
    connections.close(number, "it sent too much")
    peer.sendall(b"still there")
    assert other.recv(20) == b"still there"
    for one in (ours, theirs, other, peer):
        one.close()
