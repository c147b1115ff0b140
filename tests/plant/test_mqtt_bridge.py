"""The MQTT bridge from end to end: a real service, a real broker, a real subscriber, outages and kills."""

import json
import signal
import time

import pytest
from broker import Broker, PlantClient
from mqtt_bridge import (
    NODE,
    PREFIX,
    MqttBridge,
    aliases_of,
    bd_seq,
    config_for,
    first_sequences,
    payloads,
    sparkplug_values,
)

from linewatch.plant.mqtt.bodies import BridgeBody, StateBody
from linewatch.plant.mqtt.payload import ReadPayload
from linewatch.wire.schema import AlarmBody, CoilMessage, DefectMessage, RollMarkMessage, StatusMessage

pytestmark = pytest.mark.service


@pytest.fixture
def plant(broker):
    plant = PlantClient(broker)
    yield plant
    plant.close()


@pytest.fixture
def start():
    """Starts bridges that end with the test."""
    started = []

    def start(config, **more) -> MqttBridge:
        started.append(MqttBridge(config, **more))
        return started[-1]

    yield start
    for bridge in started:
        bridge.process.kill()
        bridge.join()


def newest(plant: PlantClient, topic: str, model):
    heard = plant.of(f"{PREFIX}/{topic}")
    return model.model_validate_json(heard[-1].payload) if heard and heard[-1].payload else None


def test_a_plant_gets_everything_although_broker_and_bridge_are_killed(tmp_path, start_service, broker, plant, start):
    """The messages are the wire's own, in order; state is retained; what was stored comes as historical."""
    outage(tmp_path, start_service, broker, plant, start, outage_s=0.0, frames=30)


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_a_broker_that_is_down_for_ten_minutes_costs_nothing(tmp_path, start_service, broker, plant, start):
    outage(tmp_path, start_service, broker, plant, start, outage_s=600.0, frames=3000)


def outage(tmp_path, start_service, broker, plant, start, outage_s: float, frames: int) -> None:
    service = start_service()
    config = config_for(tmp_path, service, broker)
    bridge = start(config)
    first_messages(service, broker, plant)
    broker.kill()
    for face in ("plain", "spb"):
        bridge.wait_for("broker_lost", face=face)
    service.tell(f"frames {frames} 2")
    service.tell("clear")  # nobody is there: the alarm goes, and another comes
    service.tell("alarm")
    time.sleep(outage_s)
    bridge.process.send_signal(signal.SIGKILL)
    bridge.join()
    service.tell(f"frames {frames} 2")
    broker.start()
    plant.wait_subscribed()
    bridge = start(config)
    births = everything_came(plant, last := 3 + 2 * frames - 1)
    service.tell("frames 1 2")
    plant.wait_for(lambda plant: sparkplug_values(plant, "Defect/Id")[-1][1] is False)
    assert bridge.end() == 0
    plant.wait_for(lambda plant: newest(plant, "bridge", BridgeBody).online is False)
    plant.wait_for(lambda plant: plant.of(NODE.format("NDEATH")))
    assert bd_seq(payloads(plant, NODE.format("NDEATH"))[-1]) == bd_seq(births[-1])
    assert len(first_sequences(plant.of(f"{PREFIX}/defect"))) == last + 2


def first_messages(service, broker: Broker, plant: PlantClient) -> None:
    """Let the service decide, and check events and retained state, also of a client that comes late."""
    service.tell("coil started")
    service.tell("frames 3 2")
    service.tell("alarm")
    service.tell("roll")
    plant.wait_for(lambda plant: len(plant.of(f"{PREFIX}/alarm")) == 1 and plant.of(f"{PREFIX}/roll_mark"))
    plant.wait_for(lambda plant: (state := newest(plant, "state", StateBody)) and state.coil == "C1")
    plant.wait_for(lambda plant: newest(plant, "alarms/1%2F3", AlarmBody))
    assert newest(plant, "coil", CoilMessage).state == "started"
    assert newest(plant, "defect", DefectMessage).mask.runs == 2
    assert newest(plant, "roll_mark", RollMarkMessage).id == "roll"
    plant.wait_for(lambda plant: (status := newest(plant, "status", StatusMessage)) and status.healthy)
    assert newest(plant, "bridge", BridgeBody).service == "running"
    late = PlantClient(broker, f"{PREFIX}/#")
    retained = {f"{PREFIX}/{topic}" for topic in ("bridge", "coil", "alarms/1%2F3")}
    late.wait_for(lambda late: retained <= {one.topic for one in late.heard if one.retain})
    assert not late.of(f"{PREFIX}/defect")
    late.close()


def everything_came(plant: PlantClient, last: int) -> list[ReadPayload]:
    """Wait for defect `last` on both faces, check all, and return the births."""
    plant.wait_for(lambda plant: (1, last) in first_sequences(plant.of(f"{PREFIX}/defect"))[-1:], 120)
    assert first_sequences(plant.of(f"{PREFIX}/defect")) == [(1, sequence) for sequence in range(last + 1)]
    plant.wait_for(lambda plant: len(first_sequences(plant.of(f"{PREFIX}/alarm"))) == 3)
    plant.wait_for(lambda plant: [o.payload[:1] for o in plant.heard if "/alarms/1%2F" in o.topic][-1:] == [b"{"])

    births = payloads(plant, NODE.format("NBIRTH"))
    assert [bd_seq(birth) for birth in births] == list(range(len(births)))
    assert [one.value for one in births[-1].metrics if one.name == "Node Control/Rebirth"] == [False]
    names = aliases_of(plant)
    assert len(set(names.values())) == len(names)
    opened = plant.wait_for(
        lambda plant: (found := sparkplug_values(plant, "Defect/Id")) and len(dict(found)) == last + 1 and found, 120
    )
    ids = list(dict.fromkeys(name for name, _ in opened))
    assert ids == [f"C1/top/cam1/{256 * ordinal}.200" for ordinal in ordinals(plant)]
    assert [historical for _, historical in opened[:3]] == [False] * 3
    assert all(historical for name, historical in opened if name not in ids[:3])
    return births


def ordinals(plant: PlantClient) -> list[int]:
    """Return the frames of the defects by the plain face."""
    found = (json.loads(one.payload)["ordinal"] for one in plant.of(f"{PREFIX}/defect"))
    return list(dict.fromkeys(found))
