"""A decoder that shares no code with linewatch, npm's sparkplug-payload, reads what the bridge sends to a broker."""

import json
import subprocess

import pytest
from broker import Broker, PlantClient
from foreign import FOREIGN, needs_node, node_environment
from mqtt_bridge import DEVICE, NODE, MqttBridge, config_for, sparkplug_values

from linewatch.plant.mqtt.metrics import DEVICE_METRICS

pytestmark = [pytest.mark.service, pytest.mark.heavy, needs_node("sparkplug-payload")]


def decoded(payloads: list[bytes]) -> list[dict]:
    ended = subprocess.run(
        ["node", FOREIGN / "sparkplug_decode.js"],
        input="\n".join(payload.hex() for payload in payloads),
        capture_output=True,
        text=True,
        env=node_environment(),
        timeout=60,
        check=True,
    )
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_a_foreign_decoder_reads_births_data_and_death(tmp_path, start_service):
    broker, service = Broker(tmp_path), start_service()
    host = PlantClient(broker, "spBv1.0/#")
    bridge = MqttBridge(config_for(tmp_path, service, broker))
    try:
        service.tell("coil started")
        service.tell("frames 2 3")
        service.tell("alarm")
        host.wait_for(lambda host: sparkplug_values(host, "Alarm/Id"))
        assert bridge.end() == 0
        host.wait_for(lambda host: host.of(NODE.format("NDEATH")))
    finally:
        bridge.process.kill()
        bridge.join()
        host.close()
        broker.kill()
    found = decoded([one.payload for one in host.heard])
    by_topic: dict[str, list[dict]] = {}
    for heard, payload in zip(host.heard, found, strict=True):
        by_topic.setdefault(heard.topic, []).append(payload)
    (node_birth,), (birth,) = by_topic[NODE.format("NBIRTH")], by_topic[DEVICE.format("DBIRTH")]
    (death,) = by_topic[NODE.format("NDEATH")]
    assert [one["value"] for one in node_birth["metrics"] if one["name"] == "bdSeq"] == [0]
    assert [(one["name"], one["type"], one["value"]) for one in death["metrics"]] == [("bdSeq", "Int64", 0)]
    assert "seq" not in death
    assert [(one["name"], one["type"]) for one in birth["metrics"]] == [
        (metric.name, metric.datatype.name.title().replace("_", "")) for metric in DEVICE_METRICS
    ]
    along = next(one for one in birth["metrics"] if one["name"] == "Defect/Along Begin")
    assert along["properties"]["engUnit"] == {"type": "String", "value": "mm"}
    names = {one["alias"]: one["name"] for one in birth["metrics"]}
    data = [payload for topic, payloads in by_topic.items() if "/DDATA/" in topic for payload in payloads]
    told = [{names[one["alias"]]: one["value"] for one in payload["metrics"]} for payload in data]
    assert [one["Defect/Id"] for one in told if "Defect/Id" in one] == ["C1/top/cam1/0.200", "C1/top/cam1/256.200"]
    assert next(one for one in told if "Defect/Id" in one)["Defect/Area"] == 12.5
    assert [one["Alarm/Acknowledged"] for one in told if "Alarm/Id" in one] == [False]
