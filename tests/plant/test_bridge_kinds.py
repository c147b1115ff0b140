"""The promises that every registered kind of bridge keeps, with its example configuration and a real service."""

import re
import signal
import time
from pathlib import Path

import pytest
from bridge_and_plc import PATIENCE_S, ROOT, Bridge
from real_service import RealService
from typed_commands import typed
from waiting import wait_until

from linewatch.client import ClientKeys, Subscriber
from linewatch.config.load import load
from linewatch.contracts.access import Role
from linewatch.plant.registry import BRIDGES
from linewatch.plant.settings import BridgeSettings
from linewatch.wire.access.keyring import make_pair
from linewatch.wire.schema import StatusMessage

SLOW_TO_START = {"opcua"}
"""Kinds whose start takes seconds of a core: they keep these promises in the heavy tests."""
KINDS = [pytest.param(kind, marks=[pytest.mark.heavy] * (kind in SLOW_TO_START)) for kind in sorted(BRIDGES)]
pytestmark = [pytest.mark.service, pytest.mark.parametrize("kind", KINDS)]


def example(kind: str) -> Path:
    return ROOT / "configs" / "plant" / f"{kind}.toml"


@pytest.fixture
def start(tmp_path):
    """Starts bridges on their example configurations, with this service and free ports; they end with the test."""
    started = []

    def start(kind: str, service, keys: str = "") -> Bridge:
        text, own = example(kind).read_text(), f'"{tmp_path}/{kind}.sqlite"'
        for key, value in (
            ("publish", f'"{service.publish}"'),
            ("serve", f'"{service.serve}"'),
            ("port", "1" if kind == "s7" else "0"),
            ("file", own),
            ("pki_dir", f'"{tmp_path}/pki"'),
        ):
            text = re.sub(rf"^{key} = \S+", f"{key} = {value}", text, flags=re.MULTILINE)
        text = text.replace("[service]\n", f"[service]\n{keys}")
        config = tmp_path / f"{kind}.toml"
        config.write_text(text)
        started.append(Bridge(kind, config))
        return started[-1]

    yield start
    for bridge in started:
        bridge.process.kill()
        bridge.join()


def test_its_example_is_good_and_names_every_section_that_bridges_share(kind):
    settings = load(example(kind), BRIDGES[kind].settings)
    assert isinstance(settings, BridgeSettings)
    assert "[service]" in example(kind).read_text()


def test_it_follows_a_service_and_survives_its_restart(kind, start, start_service):
    service = start_service()
    bridge = start(kind, service)
    bridge.wait_for("service_state", state="running")
    bridge.wait_for("synchronised")
    service.tell("coil started")
    service.tell("frames 3 3")
    service.kill()
    bridge.wait_for("service_state", state="silent", times=2)
    service.start()
    bridge.wait_for("synchronised", times=2)
    bridge.wait_for("service_state", state="running", times=2)
    assert bridge.end(signal.SIGTERM) == 0
    assert bridge.events[-1]["event"] == "stopped"


def test_it_waits_for_a_service_that_does_not_run_yet(kind, start, start_service):
    service = start_service()
    service.kill()
    bridge = start(kind, service)
    bridge.wait_for("service_state", state="silent")
    service.start()
    bridge.wait_for("service_state", state="running")
    assert bridge.end(signal.SIGINT) == 0


@pytest.mark.heavy
def test_it_hears_nothing_of_a_service_with_keys_until_it_has_one_and_reports_by_that(kind, start, tmp_path):
    server_secret, server_public = make_pair(tmp_path, "server")
    secret, _ = make_pair(tmp_path, f"{kind}-bridge", Role.OBSERVER)
    keys = f'[wire.keys]\nserver_secret_file = "{server_secret}"\nclients_dir = "{tmp_path}/clients"\n'
    service = RealService(tmp_path / "service", more=keys)
    try:
        without = start(kind, service)
        without.wait_for("service_state", state="silent")
        time.sleep(2.0)  # many heartbeats
        assert not [one for one in without.events if one.get("state") == "running"]
        assert without.end() == 0
        keys = f'keys = {{ secret_file = "{secret}", server_public_file = "{server_public}" }}\n'
        bridge = start(kind, service, keys)
        bridge.wait_for("service_state", state="running")
        own = ClientKeys(secret, server_public)
        with Subscriber(service.publish, service.serve, ["status"], keys=own) as subscriber:

            def told() -> list[tuple[str, str | None]]:
                message = subscriber.poll(0.2)
                return [(one.name, one.key) for one in message.bridges] if isinstance(message, StatusMessage) else []

            assert wait_until(told, PATIENCE_S) == [(kind, f"{kind}-bridge")]
        assert bridge.end() == 0
    finally:
        service.kill()


def test_it_ends_with_an_error_where_the_service_speaks_another_schema_version(kind, start, start_service):
    service = start_service()
    bridge = start(kind, service)
    bridge.wait_for("synchronised")
    service.tell("newer")
    assert bridge.join() == 5
    assert "upgrade the older one" in bridge.events[-1]["text"]


def test_it_refuses_a_bad_configuration(kind, tmp_path):
    config = tmp_path / "bad.toml"
    config.write_text('[service]\npublish = "tcp://127.0.0.1:*"\nsilence_ms = 3\n')
    for arguments in ([config], [config, "--check"]):
        ended = typed("bridge", kind, *arguments)
        assert ended.returncode == 2
        assert "[service] publish: 'tcp://127.0.0.1:*' has no port to connect to" in ended.stderr
        assert "[service] silence_ms: unknown key" in ended.stderr
