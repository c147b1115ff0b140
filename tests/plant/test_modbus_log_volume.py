"""A PLC that connects for every poll, and what is not Modbus, cost a few lines of log and not a disk."""

import contextlib
import socket
from collections import Counter
from types import SimpleNamespace

import pytest
from bridge_and_plc import ModbusBridge, config_for
from test_modbus_server import answers, request

POLLS, JUNK = 600, 200


@pytest.mark.service
@pytest.mark.slow
def test_a_plc_that_connects_for_every_poll_is_logged_once_and_then_counted(tmp_path):
    service = SimpleNamespace(publish=f"ipc://{tmp_path}/p", serve=f"ipc://{tmp_path}/s")
    bridge = ModbusBridge(config_for(tmp_path, service))
    for number in range(POLLS):
        with socket.create_connection(("127.0.0.1", bridge.port), timeout=30) as plc:
            plc.sendall(request(number))
            answers(plc, 1)
    for _ in range(JUNK):
        junk = socket.create_connection(("127.0.0.1", bridge.port), timeout=30)
        with junk, contextlib.suppress(ConnectionError):
            junk.sendall(b"GET / HTTP/1.1\r\n\r\n")
            junk.recv(1)
    assert bridge.end() == 0
    lines = [line for line in bridge.events if str(line["event"]).startswith("plc_")]
    count = Counter[tuple]()
    for line in lines:
        count[line["event"], line["peer"], line.get("why")] += line.get("more", 1)
    assert count == {
        ("plc_connected", "127.0.0.1", None): POLLS + JUNK,
        ("plc_disconnected", "127.0.0.1", "closed"): POLLS,
        ("plc_disconnected", "127.0.0.1", "not Modbus TCP"): JUNK,
    }
    assert len(lines) == 6
