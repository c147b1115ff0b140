"""The Sparkplug face at a real broker: births, rebirth, sequence, the Primary Host; and the payload's own coding."""

import contextlib
import json
import time
from types import SimpleNamespace

import pytest
from broker import Broker, PlantClient
from hypothesis import given, settings
from hypothesis import strategies as st
from mqtt_bridge import DEVICE, NODE, bd_seq, payloads, sparkplug_values

from linewatch.client import Position
from linewatch.plant.mqtt.metrics import BD_SEQ, DEVICE_METRICS, NODE_METRICS, REBIRTH, aliases
from linewatch.plant.mqtt.payload import DataType, MetricValue, PayloadError, decode_payload, encode_payload
from linewatch.plant.mqtt.settings import BrokerSettings, SparkplugSettings
from linewatch.plant.mqtt.sparkplug import SparkplugFace
from linewatch.plant.mqtt.view import Shown
from linewatch.plant.store import EventStore, StoreSettings
from linewatch.plant.view import BridgeState, CoilView

HOST_TOPIC = "spBv1.0/STATE/scada"
LOST = {"topic": "defect", "epoch": 1, "first": 0, "end": 2, "messages": 2, "reason": "gone"}


class Line:
    """A face over a real store and broker, with a service that the test plays."""

    def __init__(self, folder, broker: Broker, **settings) -> None:
        self.service = SimpleNamespace(newest=Shown(None, CoilView("C1"), (), 7), state=BridgeState.RUNNING)
        self.store = EventStore(StoreSettings(file=folder / "store.sqlite"), ["spb"])
        spb = SparkplugSettings(state_s=0.05, **settings)
        self.face = SparkplugFace(spb, BrokerSettings(url=broker.url), self.store, self.service)
        self.face.start()

    def tell(self, number: int) -> None:
        body = json.dumps(LOST | {"messages": number}).encode()
        self.store.append("lost", 1, number, time.time_ns() // 1_000_000, body, {"defect": Position(1, number)}, None)
        self.face.wake()


@pytest.fixture
def host(broker):
    host = PlantClient(broker)
    yield host
    host.close()


@pytest.fixture
def start(tmp_path, broker):
    """Starts lines that end with the test."""
    started = []

    def start(**settings) -> Line:
        started.append(Line(tmp_path, broker, **settings))
        return started[-1]

    yield start
    for line in started:
        line.face.end()
        line.face.join()
        line.store.__exit__()


def command(metric: str, value: object = True, datatype: DataType = DataType.BOOLEAN) -> bytes:
    return encode_payload(1, None, [MetricValue(metric, None, datatype, value)])


@pytest.mark.service
def test_births_are_sent_again_on_command_and_every_message_counts(host, start):
    host.publish(NODE.format("NCMD"), command(REBIRTH), retain=True)  # junk that greets each connection
    line = start()
    host.wait_for(lambda host: host.of(DEVICE.format("DBIRTH")))
    line.tell(1)
    host.wait_for(lambda host: sparkplug_values(host, "Lost/Messages") == [(1, False)])
    host.publish(NODE.format("NCMD"), b"\xff\xff")
    host.publish(NODE.format("NCMD"), command("Node Control/Reboot"))
    host.publish(NODE.format("NCMD"), command(REBIRTH))
    host.wait_for(lambda host: len(host.of(DEVICE.format("DBIRTH"))) >= 2)
    line.tell(2)
    host.wait_for(lambda host: sparkplug_values(host, "Lost/Messages")[-1] == (2, False))
    line.service.state = BridgeState.SILENT
    host.wait_for(lambda host: host.of(DEVICE.format("DDEATH")))
    line.service.state = BridgeState.RUNNING
    host.wait_for(lambda host: len(host.of(DEVICE.format("DBIRTH"))) >= 3)
    kinds = [one.topic.split("/")[2] for one in host.heard if one.topic.startswith("spBv1.0/mill/")]
    kinds = [kind for kind in kinds if kind != "NCMD"]
    assert kinds[0] == "NBIRTH"
    assert {one.qos for one in host.heard if "/DDATA/" in one.topic} == {0}
    expected = None
    for one in host.heard:
        kind = one.topic.split("/")[2]
        if kind in ("NCMD", "NDEATH"):
            continue
        seq = _seq(one.payload)
        assert seq == (0 if kind == "NBIRTH" else expected), kinds
        expected = (seq + 1) % 256
    births = payloads(host, NODE.format("NBIRTH"))
    assert [bd_seq(birth) for birth in births] == [0, 0]
    described = {one.name: one for one in births[-1].metrics} | {
        one.name: one for one in payloads(host, DEVICE.format("DBIRTH"))[-1].metrics
    }
    assert described[REBIRTH].alias is None
    assert described[BD_SEQ].alias is None
    assert described["Lost/Messages"].value == 2
    assert described["Defect/Id"].value is None
    for birth in payloads(host, DEVICE.format("DDATA")):
        assert all(one.name is None and one.alias is not None for one in birth.metrics)


@pytest.mark.service
def test_what_the_primary_host_misses_is_stored_and_comes_as_historical(host, start):
    host.publish(HOST_TOPIC, b"junk", retain=True)
    line = start(primary_host="scada")
    line.tell(1)
    host.publish(HOST_TOPIC, b'{"online": "yes", "timestamp": 1}')
    host.publish(HOST_TOPIC, b'{"online": true, "timestamp": 100}', retain=True)
    host.wait_for(lambda host: sparkplug_values(host, "Lost/Messages") == [(1, True)])
    host.publish(HOST_TOPIC, b'{"online": false, "timestamp": 99}', retain=True)  # of an older session of the host
    line.tell(2)
    host.wait_for(lambda host: sparkplug_values(host, "Lost/Messages")[-1] == (2, False))
    host.publish(HOST_TOPIC, b'{"online": false, "timestamp": 101}', retain=True)
    host.wait_for(lambda host: host.of(NODE.format("NDEATH")))
    line.tell(3)
    births = len(host.of(NODE.format("NBIRTH")))
    host.publish(HOST_TOPIC, b'{"online": true, "timestamp": 102}', retain=True)
    host.wait_for(lambda host: sparkplug_values(host, "Lost/Messages")[-1] == (3, True))
    assert births == 1
    seqs = [bd_seq(birth) for birth in payloads(host, NODE.format("NBIRTH"))]
    assert seqs[0] == bd_seq(payloads(host, NODE.format("NDEATH"))[0])
    assert seqs[1] == seqs[0] + 1
    assert line.face.trouble == ""


def test_aliases_are_unique_in_the_node():
    found = [*aliases("node", NODE_METRICS).values(), *aliases("device", DEVICE_METRICS).values()]
    assert len(set(found)) == len(found) == len(NODE_METRICS) + len(DEVICE_METRICS)


VALUES = {
    DataType.INT32: st.integers(-(2**31), 2**31 - 1),
    DataType.INT64: st.integers(-(2**63), 2**63 - 1),
    DataType.DOUBLE: st.floats(allow_nan=False),
    DataType.BOOLEAN: st.booleans(),
    DataType.STRING: st.text(st.characters(codec="utf-8"), max_size=20),
    DataType.DATE_TIME: st.integers(0, 2**53),
}


@settings(max_examples=50)
@given(st.sampled_from(list(VALUES)).flatmap(lambda kind: st.tuples(st.just(kind), VALUES[kind] | st.none())))
def test_a_value_is_the_same_after_coding(drawn):
    kind, value = drawn
    data = encode_payload(5, 255, [MetricValue("m", 3, kind, value, 4, True, "mm")])
    assert decode_payload(data).metrics == (MetricValue("m", 3, kind, value, 4, True),)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_payload_or_an_error(data):
    with contextlib.suppress(PayloadError):
        decode_payload(data)


def _seq(data: bytes) -> int:
    """Return the sequence number of a payload: field 3, its last."""
    end = data.rindex(b"\x18", max(0, len(data) - 3))
    low, *high = data[end + 1 :]
    return low & 0x7F | (high[0] << 7 if high else 0)
