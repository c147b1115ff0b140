"""A client that shares no code with the server, node-opcua, uses an OPC UA bridge over a running service."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from foreign import FOREIGN, needs_node, node_environment
from opcua_plant import PASSWORD, ClientCertificate, OpcuaBridge
from real_service import RealService

pytestmark = [pytest.mark.service, pytest.mark.heavy, needs_node("node-opcua")]


def run(
    bridge: OpcuaBridge, folder: Path, own: ClientCertificate, mode: str, password: str = PASSWORD
) -> dict[str, Any]:
    """Return everything that the client tells."""
    asked = {
        "mode": mode,
        "url": bridge.url,
        "uri": own.uri,
        "certificate": str(own.certificate),
        "key": str(own.key),
        "folder": str(folder / "node-pki"),
        "user": "operator",
        "password": password,
    }
    ended = subprocess.run(
        ["node", FOREIGN / "opcua_client.js", json.dumps(asked)],
        capture_output=True,
        text=True,
        env=node_environment(),
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told: dict[str, Any] = {}
    for line in ended.stdout.splitlines():
        if line.startswith("{"):
            told |= json.loads(line)
    return told


@pytest.fixture
def bridge(tmp_path: Path) -> Any:
    service = RealService(tmp_path / "service", frames=8000)
    running = OpcuaBridge(tmp_path / "bridge", service)
    running.wait_for("service_state", state="running")
    yield running
    running.process.kill()
    running.join()
    service.kill()


def test_it_browses_subscribes_receives_a_coil_and_acknowledges_an_alarm(bridge: OpcuaBridge, tmp_path: Path) -> None:
    told = run(bridge, tmp_path, bridge.client, "story")
    assert "linewatch" in told["objects"]
    assert {"VisionStateMachine", "ResultManagement", "Health", "Coil", "NewestDefects"} <= set(told["system"])
    assert told["heartbeats"] > 3
    assert told["acknowledged"] == "Good"
    assert told["severity"] == 400
    assert told["result"] == told["job"]
    assert (told["state"], told["partial"]) == (1, False)
    content = told["content"]
    assert content["coil"] == "N1"
    assert content["lengthMm"] > 0
    assert 0 < content["coverage"] <= 1
    assert content["defects"] == sum(count for _, count in content["byClass"])


def test_it_is_refused_with_a_certificate_that_is_not_trusted_or_has_expired_and_with_a_wrong_password(
    bridge: OpcuaBridge, tmp_path: Path
) -> None:
    expired = ClientCertificate.made(tmp_path, "expired", -30, -1)
    expired.trust(bridge.pki)
    for own in (ClientCertificate.made(tmp_path, "stranger"), expired):
        assert "refused" in run(bridge, tmp_path, own, "connect"), own
    assert "refused" in run(bridge, tmp_path, bridge.client, "connect", "wrong")
    assert run(bridge, tmp_path, bridge.client, "connect") == {"connected": True}
    why = [event["why"] for event in bridge.events if event["event"] == "opcua_client_refused"]
    assert any("not in the trust list" in one for one in why)
    assert any("valid from" in one for one in why)
