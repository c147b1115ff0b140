"""Bridges and PLCs that end with the test."""

import pytest
from bridge_and_plc import ModbusBridge, Plc, config_for


@pytest.fixture
def start_bridge(tmp_path):
    """Starts bridges that end with the test."""
    started = []

    def start(service, **options: str) -> ModbusBridge:
        started.append(ModbusBridge(config_for(tmp_path, service, **options)))
        return started[-1]

    yield start
    for bridge in started:
        bridge.process.kill()
        bridge.join()


@pytest.fixture
def connect():
    """PLCs, disconnected at the end."""
    plcs = []

    def connect(bridge: ModbusBridge) -> Plc:
        plcs.append(Plc(bridge.port))
        return plcs[-1]

    yield connect
    for plc in plcs:
        plc.client.close()
