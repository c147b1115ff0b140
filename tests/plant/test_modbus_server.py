"""Whatever a PLC does to its connection, the others are answered and the registers follow the service."""

import contextlib
import select
import socket
import struct
from types import SimpleNamespace

import pytest
from bridge_and_plc import ModbusBridge, config_for

pytestmark = pytest.mark.service

RUNNING = 2
PATIENCE_S = 120.0


def request(transaction: int, function: int = 3, address: int = 0, count: int = 4) -> bytes:
    return struct.pack(">HHHBBHH", transaction, 0, 6, 1, function, address, count)


def answers(connection: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """Read so many answers; return (transaction, PDU) of each."""
    stream = connection.makefile("rb")
    found = []
    for _ in range(count):
        transaction, _, size, _ = struct.unpack(">HHHB", stream.read(7))
        found.append((transaction, stream.read(size - 1)))
    return found


@contextlib.contextmanager
def raw(bridge):
    with socket.create_connection(("127.0.0.1", bridge.port), timeout=PATIENCE_S) as connection:
        yield connection


def test_requests_that_come_together_or_in_pieces_are_all_answered(start_service, start_bridge):
    bridge = start_bridge(start_service())
    with raw(bridge) as connection:
        connection.sendall(b"".join(request(n) for n in range(500)))
        assert [transaction for transaction, _ in answers(connection, 500)] == list(range(500))
        with raw(bridge) as other:
            for byte in request(7):
                connection.sendall(bytes([byte]))
                other.sendall(request(8))
                answers(other, 1)  # so the bridge has read in between
        ((transaction, pdu),) = answers(connection, 1)
        assert (transaction, pdu[:4]) == (7, b"\x03\x08\x00\x01")


@pytest.fixture(scope="module")
def idle_bridge(tmp_path_factory):
    """A bridge whose service never starts."""
    folder = tmp_path_factory.mktemp("idle")
    service = SimpleNamespace(publish=f"ipc://{folder}/p", serve=f"ipc://{folder}/s")
    bridge = ModbusBridge(config_for(folder, service))
    yield bridge
    bridge.end()


@pytest.mark.parametrize(
    ("pdu", "code"),
    [
        (struct.pack(">BHH", 3, 364, 2), 2),
        (struct.pack(">BHH", 4, 65535, 1), 2),
        (struct.pack(">BHH", 2, 60, 5), 2),
        (struct.pack(">BHH", 1, 0, 1), 2),  # without [acknowledge] there are no coils
        (struct.pack(">BHH", 5, 17, 0xFF00), 2),
        (struct.pack(">BHHBB", 15, 0, 8, 1, 255), 2),
        (struct.pack(">BHH", 6, 0, 1), 1),
        (struct.pack(">BHHBH", 16, 0, 1, 2, 1), 1),
        (b"\x2b\x0e\x01\x00", 1),
        (b"\x00\x00", 1),
        (b"\x83\x01", 1),
        (struct.pack(">BHH", 5, 17, 0x0001), 3),
        (struct.pack(">BHH", 3, 0, 0), 3),
        (struct.pack(">BHH", 3, 0, 126), 3),
        (struct.pack(">BHH", 3, 0, 65535), 3),
        (b"\x03", 3),
        (b"\x03\x00\x00", 3),
        (b"\x0f\x00\x00\x00\x08\x01", 3),
    ],
)
def test_a_request_that_cannot_be_gets_its_exception_and_the_connection_lives(pdu, code, idle_bridge):
    with raw(idle_bridge) as connection:
        connection.sendall(struct.pack(">HHHB", 9, 0, len(pdu) + 1, 1) + pdu + request(10))
        (refused, answer), (after, _) = answers(connection, 2)
    assert (refused, answer) == (9, bytes([pdu[0] | 0x80, code]))
    assert after == 10


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", struct.pack(">HHHB", 1, 0, 300, 1), b"\0" * 7])
def test_what_is_not_modbus_ends_its_connection_only(data, idle_bridge, connect):
    plc = connect(idle_bridge)
    with raw(idle_bridge) as connection:
        connection.sendall(data)
        with contextlib.suppress(ConnectionError):
            assert connection.recv(100) == b""
    assert plc.read()["map_version"] == 1


def test_one_that_floods_and_one_that_hangs_hold_nobody_up(start_service, start_bridge, connect):
    """One PLC sends requests as fast as it can and reads no answer, another sends half a request and stops."""
    service = start_service()
    bridge = start_bridge(service)
    with raw(bridge) as flood, raw(bridge) as hanging:
        hanging.sendall(request(1)[:8])
        flood.setblocking(False)
        sent, many = 0, b"".join(request(n, count=100) for n in range(1000))
        while select.select([], [flood], [], 0.5)[1]:  # until nothing more is taken
            sent += flood.send(many)
        plc = connect(bridge)
        plc.wait_for(state=RUNNING)
        service.tell("coil started")
        service.tell("frames 20 3")
        service.tell("alarm")
        plc.wait_for(defect_1_number=20, alarms_standing=1, coil_inspected=21 * 256)
        resident_mb = _resident_mb(bridge.process.pid)
        assert sent > 100_000
        assert resident_mb < 250
        hanging.sendall(request(1)[8:])
        assert answers(hanging, 1)[0][0] == 1


def _resident_mb(pid: int) -> float:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


def test_one_connection_too_many_closes_the_one_that_was_silent_longest(start_service, start_bridge):
    bridge = start_bridge(start_service(), listen="connections = 2")
    with raw(bridge) as first, raw(bridge) as second:
        for connection in (first, second, first):
            connection.sendall(request(1))
            answers(connection, 1)
        with raw(bridge) as third:
            third.sendall(request(2))
            answers(third, 1)
            with contextlib.suppress(ConnectionError):
                assert second.recv(100) == b""
            first.sendall(request(3))
            answers(first, 1)


def test_a_silent_connection_is_closed(start_service, start_bridge):
    bridge = start_bridge(start_service(), listen="idle_s = 1.0")
    with raw(bridge) as connection:
        with contextlib.suppress(ConnectionError):
            assert connection.recv(100) == b""
        assert bridge.wait_for("plc_disconnected")["why"] == "idle"


def test_only_the_named_plcs_may_connect(start_service, start_bridge):
    bridge = start_bridge(start_service(), listen='clients = ["192.0.2.7"]')
    with raw(bridge) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(request(1))
            assert connection.recv(100) == b""
        assert bridge.wait_for("plc_refused")["peer"] == "127.0.0.1"
