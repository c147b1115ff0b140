"""Bridges and PLCs that end with the test, beside the client tests' small service."""

import importlib.util

import pytest
from bridge_and_plc import ROOT, Bridge, Plc, config_for

_spec = importlib.util.spec_from_file_location("small_services", ROOT / "tests" / "client" / "conftest.py")
_services = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_services)
start_service = _services.start_service


@pytest.fixture
def start_bridge(tmp_path):
    """Starts bridges that end with the test."""
    started = []

    def start(service, listen: str = "", more: str = "") -> Bridge:
        started.append(Bridge(config_for(tmp_path, service, listen, more)))
        return started[-1]

    yield start
    for bridge in started:
        bridge.process.kill()
        bridge.join()


@pytest.fixture
def connect():
    """PLCs, disconnected at the end."""
    plcs = []

    def connect(bridge: Bridge) -> Plc:
        plcs.append(Plc(bridge.port))
        return plcs[-1]

    yield connect
    for plc in plcs:
        plc.client.close()
