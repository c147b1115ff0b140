"""What the plain face delivers and tells: drops, a full disk, an access list as the documentation shows it."""

import json
import re
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest
from bridge_and_plc import ROOT
from broker import Broker, PlantClient, need_mosquitto
from mqtt_bridge import PREFIX, first_sequences
from waiting import wait_until

from linewatch.client import Position
from linewatch.contracts.alarm import AlarmState
from linewatch.plant.follower import Follower
from linewatch.plant.keeper import EventKeeper, LostBody
from linewatch.plant.mqtt.bodies import BridgeBody
from linewatch.plant.mqtt.plain import PlainFace
from linewatch.plant.mqtt.settings import BrokerSettings, PlainSettings
from linewatch.plant.mqtt.view import MqttView, Shown
from linewatch.plant.settings import FollowedServiceSettings
from linewatch.plant.store import EventStore, StoreSettings
from linewatch.plant.view import BridgeState, CoilView
from linewatch.wire.schema import AlarmBody, Topic

pytestmark = pytest.mark.service

PAGE = (ROOT / "docs" / "mqtt.md").read_text()


class Line:
    """A plain face over a real store, with a service that the test plays."""

    def __init__(self, folder, broker: BrokerSettings, prefix: str = PREFIX) -> None:
        self.service = SimpleNamespace(newest=Shown(None, CoilView("C1"), (), 7), state=BridgeState.RUNNING)
        self.store = EventStore(StoreSettings(file=folder / "store.sqlite", max_mb=1.0), ["plain"])
        self.face = PlainFace(PlainSettings(prefix=prefix), broker, self.store, self.service, None)

    def tell(self, sequence: int, size: int = 0) -> None:
        body = json.dumps({"epoch": 1, "sequence": sequence, "more": "x" * size}).encode()
        self.store.append("defect", 1, sequence, 1, body, {"defect": Position(1, sequence + 1)}, None)
        self.face.wake()

    def close(self) -> None:
        self.face.end()
        self.face.join()
        self.store.__exit__()


def test_what_the_store_had_to_drop_is_told_before_the_rest(tmp_path):
    broker = Broker(tmp_path)
    plant, line = PlantClient(broker, f"{PREFIX}/#"), Line(tmp_path, BrokerSettings(url=broker.url))
    try:
        for sequence in range(150):
            line.tell(sequence, size=10_000)
        dropped = line.store.dropped("plain")
        assert dropped > 50
        line.face.start()
        plant.wait_for(lambda plant: (1, 149) in first_sequences(plant.of(f"{PREFIX}/defect"))[-1:])
        assert first_sequences(plant.of(f"{PREFIX}/defect")) == [(1, at) for at in range(dropped, 150)]
        (lost,) = plant.wait_for(lambda plant: plant.of(f"{PREFIX}/lost"))
        told = LostBody.model_validate_json(lost.payload)
        assert (told.topic, told.first, told.end, told.messages) == ("defect", 0, dropped, dropped)
        wait_until(lambda: not line.store.dropped_of("plain"))
        wait_until(lambda: line.store.waiting("plain") == 0)
        newest = BridgeBody.model_validate_json(plant.of(f"{PREFIX}/bridge")[-1].payload)
        assert newest.dropped == dropped
    finally:
        line.close()
        plant.close()
        broker.kill()


@pytest.mark.heavy
def test_more_alarms_than_the_broker_takes_at_once_all_come_to_be_retained(tmp_path):
    broker = Broker(tmp_path, "allow_anonymous true\nmax_inflight_messages 3")
    plant, line = PlantClient(broker, f"{PREFIX}/#"), Line(tmp_path, BrokerSettings(url=broker.url))
    alarms = tuple(alarm_body(number) for number in range(150))
    line.service.newest = replace(line.service.newest, alarms=alarms)
    try:
        plant.publish(f"{PREFIX}/alarms/junk", b"{}", retain=True)
        for sequence in range(100):
            line.tell(sequence)
        line.face.start()
        plant.wait_for(lambda plant: len({one.topic for one in plant.heard if "/alarms/a" in one.topic}) == 150)
        plant.wait_for(lambda plant: plant.of(f"{PREFIX}/alarms/junk")[-1].payload == b"")
        plant.wait_for(lambda plant: (1, 99) in first_sequences(plant.of(f"{PREFIX}/defect"))[-1:])
        line.service.newest = replace(line.service.newest, alarms=())
        over = {f"{PREFIX}/alarms/a{number}" for number in range(150)}
        plant.wait_for(lambda plant: over <= {one.topic for one in plant.heard if not one.payload})
        assert line.face.trouble == ""
    finally:
        line.close()
        plant.close()
        broker.kill()


def alarm_body(number: int) -> AlarmBody:
    text = {"rule": "scratches", "coil": "C1", "side": "top", "camera": "cam1", "text": "long"}
    figures = {"ordinal": number, "latched": True, "along_mm": 1.0, "defect_ids": ()}
    return AlarmBody(state=AlarmState.RAISED, id=f"a{number}", **text, **figures)


def test_a_disk_that_was_full_costs_nothing(tmp_path, start_service):
    """The service's journal supplies what the store did not take."""
    service = start_service()
    with EventStore(StoreSettings(file=tmp_path / "store.sqlite"), ["plain"]) as store:
        view = MqttView()
        keeper = EventKeeper(store, [Topic.DEFECT, Topic.ALARM], lambda: None)
        followed = FollowedServiceSettings(publish=service.publish, serve=service.serve)
        follower = Follower(followed, view, view.shown, lambda: None, keeper=keeper)
        follower.start()
        try:
            wait_until(lambda: follower.state is BridgeState.RUNNING)
            service.tell("coil started")
            service.tell("frames 3 2")
            wait_until(lambda: store.newest == 3)
            store._database.execute("PRAGMA max_page_count = 1")  # as a full disk: SQLite's own error
            service.tell("frames 200 2")
            service.tell("alarm")
            wait_until(lambda: len(follower.newest.alarms) == 1)  # the view goes on meanwhile
            assert store.newest < 204
            store._database.execute("PRAGMA max_page_count = 1000000")
            wait_until(lambda: store.newest == 204)
            kept = [(event.topic, event.sequence) for event in store.after(0, 1000)]
            assert [at for topic, at in kept if topic == "defect"] == list(range(203))
            assert [at for topic, at in kept if topic == "alarm"] == [0]
            assert follower.newest.coil.length_mm["inspected"] == 204 * 256
        finally:
            follower.stop()


def test_the_access_list_of_the_documentation_lets_the_bridge_and_level_2_work(tmp_path):
    (rights,) = re.findall(r'```text title="/etc/mosquitto/acl"\n(.*?)```', PAGE, re.DOTALL)
    users, acl, secret = tmp_path / "users", tmp_path / "acl", tmp_path / "password"
    for number, user in enumerate(("line1", "level2")):
        new = ["-c"] if number == 0 else []
        need_mosquitto()
        subprocess.run(["mosquitto_passwd", "-b", *new, users, user, "geheim"], check=True, timeout=30)
    acl.write_text(rights)
    acl.chmod(0o600)
    secret.write_text("geheim\n")
    secret.chmod(0o600)
    broker = Broker(tmp_path, f"allow_anonymous false\npassword_file {users}\nacl_file {acl}")
    level2 = PlantClient(broker, "#", "level2", "geheim")
    line = Line(tmp_path, BrokerSettings(url=broker.url, user="line1", password_file=secret), "linewatch/line1")
    try:
        level2.publish("linewatch/line1/alarms/junk", b"{}", retain=True)  # which it may not
        line.tell(0)
        line.face.start()
        level2.wait_for(lambda level2: level2.of("linewatch/line1/defect"))
        wait_until(lambda: line.store.waiting("plain") == 0)
        assert line.face.trouble == ""
        assert not level2.of("linewatch/line1/alarms/junk")
    finally:
        line.close()
        level2.close()
        broker.kill()
