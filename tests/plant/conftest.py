"""Bridges, PLCs and brokers that end with the test."""

import pytest
from bridge_and_plc import ModbusBridge, Plc, config_for
from broker import Broker


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


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path)
    yield broker
    broker.kill()
