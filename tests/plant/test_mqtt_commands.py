"""Commands by MQTT: a real service carries out what is meant, once; retained, old and broken ones are refused."""

import json
import time

import pytest
from broker import Broker, PlantClient
from mqtt_bridge import DEVICE, PREFIX, SPARKPLUG, MqttBridge, config_for, sparkplug_values
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from test_modbus_acknowledge import RealService

from linewatch.plant.mqtt.bodies import ReplyBody
from linewatch.plant.mqtt.metrics import ANSWER, DEVICE_METRICS, aliases
from linewatch.plant.mqtt.metrics import COMMAND as COMMAND_METRIC
from linewatch.plant.mqtt.payload import DataType, MetricValue, encode_payload

COMMAND, REPLY = f"{PREFIX}/command", f"{PREFIX}/reply"


def body(command: str, token: str, age_s: float = 0.0, **fields: object) -> bytes:
    at_ms = int(1000 * (time.time() - age_s))
    return json.dumps({"command": command, "token": token, "at_unix_ms": at_ms, "by": "PLC 7", **fields}).encode()


def replies(plant: PlantClient, token: str | None) -> list[ReplyBody]:
    found = (ReplyBody.model_validate_json(one.payload) for one in plant.of(REPLY))
    return [reply for reply in found if reply.token == token]


def answer(plant: PlantClient, sent: bytes, token: str | None, times: int = 1, retain: bool = False) -> ReplyBody:
    plant.publish(COMMAND, sent, retain)
    return plant.wait_for(lambda plant: len(found := replies(plant, token)) >= times and found[-1])


@pytest.mark.service
@pytest.mark.heavy
def test_the_plant_commands_by_a_topic(tmp_path):
    (tmp_path / "real").mkdir()
    broker, service = Broker(tmp_path), RealService(tmp_path / "real")
    plant = PlantClient(broker)
    plant.publish(COMMAND, body("coil_end", "retained-0001"), retain=True)  # greets the bridge
    bridge = MqttBridge(
        config_for(tmp_path, service, broker, f'{SPARKPLUG}[commands]\ncommands = "{service.commands}"\n')
    )
    try:
        refused(plant)
        data = {"coil": "C-77", "product": "exposed", "thickness_mm": 0.8}
        assert answer(plant, body("coil_data", "data-00001", data=data), "data-00001").result == "ok"
        start = body("coil_start", "start-00001", coil="C-77")
        assert answer(plant, start, "start-00001").result == "ok"
        assert answer(plant, start, "start-00001", times=2).result == "ok"  # the same answer, and the same coil
        again = answer(plant, body("coil_start", "start-00002", coil="C-77"), "start-00002")
        assert (again.result, "C-77" in again.why) == ("refused", True)
        plant.wait_for(lambda plant: [one for one in plant.of(f"{PREFIX}/coil") if b'"coil":"C-77"' in one.payload])
        alarm = plant.wait_for(standing_alarm)
        acknowledge = body("acknowledge", "ack-000001", alarm=alarm)
        acknowledged = answer(plant, acknowledge, "ack-000001")
        assert acknowledged.result == "ok", acknowledged.why
        assert answer(plant, acknowledge, "ack-000001", times=2).result == "ok"
        shelved = body("shelve", "shelve-0001", alarm="latched", minutes=1)
        assert answer(plant, shelved, "shelve-0001").result == "ok"
        assert answer(plant, body("unshelve", "unshelve-001", alarm="latched"), "unshelve-001").result == "ok"
        with_response_topic(plant)
        by_a_sparkplug_host(plant)
        assert bridge.end() == 0
    finally:
        bridge.process.kill()
        bridge.join()
        plant.close()
        broker.kill()
        service.kill()
    marks = [told["command"] for told in service.acknowledged()]
    assert [mark["token"] for mark in marks if mark["action"] == "acknowledge"] == ["ack-000001"]
    assert {mark["by"] for mark in marks} == {"mqtt PLC 7"}


def by_a_sparkplug_host(plant: PlantClient) -> None:
    """DCMD: by the metric's alias and by its name; the same token by the other face is the same command."""
    alias = aliases("device", DEVICE_METRICS)[COMMAND_METRIC]

    def dcmd(sent: bytes, name: str | None, alias: int | None, token: str) -> ReplyBody:
        metric = MetricValue(name, alias, DataType.STRING, sent.decode())
        plant.publish(DEVICE.format("DCMD"), encode_payload(1, None, [metric]))
        return plant.wait_for(lambda plant: next((one for one in told(plant) if one.token == token), None))

    def told(plant: PlantClient) -> list[ReplyBody]:
        return [ReplyBody.model_validate_json(str(value)) for value, _ in sparkplug_values(plant, ANSWER)]

    for junk in (b"\xff\xff", encode_payload(1, None, [MetricValue(COMMAND_METRIC, None, DataType.BOOLEAN, True)])):
        plant.publish(DEVICE.format("DCMD"), junk)
    data = body("coil_data", "dcmd-00001", data={"coil": "C-78", "product": "exposed"})
    assert dcmd(data, None, alias, "dcmd-00001").result == "ok"
    assert answer(plant, data, "dcmd-00001").result == "ok"
    assert dcmd(body("coil_end", "dcmd-00002", age_s=3600), COMMAND_METRIC, None, "dcmd-00002").result == "refused"


def standing_alarm(plant: PlantClient) -> str | None:
    newest = {one.topic: one.payload for one in plant.heard if one.topic.startswith(f"{PREFIX}/alarms/")}
    bodies = [json.loads(payload) for payload in newest.values() if payload]
    latched = (one for one in bodies if (one["rule"], one["coil"]) == ("latched", "C-77"))  # waits for an operator
    return next((one["id"] for one in latched if one["state"] == "raised" and not one["acked_state"]), None)


def refused(plant: PlantClient) -> None:
    """What is not a command of now, or none at all."""
    plant.wait_for(lambda plant: replies(plant, "retained-0001"))
    for sent, token, why in (
        (body("coil_end", "old-000001", age_s=3600), "old-000001", "3600"),
        (body("coil_end", "early-0001", age_s=-3600), "early-0001", "set the sender's clock"),
        (body("coil_end", "odd-000001", now=True), "odd-000001", "now"),
        (body("drop_all", "other-0001"), "other-0001", "command"),
        (b"\xff\xfe{", None, "JSON"),
        (b"[" * 4000, None, "JSON"),
        (b'{"token": "large-0001", "by": "' + b"x" * 9000 + b'"}', None, "expected at most 4096"),
    ):
        reply = answer(plant, sent, token, times=len(replies(plant, token)) + 1)
        assert reply.result == "refused"
        assert why in reply.why, reply
    assert "retain" in replies(plant, "retained-0001")[0].why
    late = answer(plant, body("coil_end", "retained-0002"), "retained-0002", retain=True)
    assert (late.result, "retain" in late.why) == ("refused", True)
    plant.publish(COMMAND, b"", retain=True)


def with_response_topic(plant: PlantClient) -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic, properties.CorrelationData = f"{PREFIX}/plc7", b"\x07"
    plant.client.publish(COMMAND, body("coil_end", "end-000001"), 1, properties=properties)
    (reply,) = plant.wait_for(lambda plant: plant.of(f"{PREFIX}/plc7"))
    assert ReplyBody.model_validate_json(reply.payload).result == "ok"
