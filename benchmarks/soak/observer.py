"""Consumers of every process of the line: they follow what it says, and know when it has recovered."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import paho.mqtt.client as mqtt
import psycopg
from paho.mqtt.enums import CallbackAPIVersion
from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

from benchmarks.soak.checks import Ledger, holes_and_doubles
from benchmarks.soak.processes import Line
from benchmarks.soak.schedule import SERVICES, STORED
from linewatch.client import Subscriber
from linewatch.wire.schema import FrameMessage

INSPECTING: Final = (*SERVICES, "strip")
_HEARTBEAT: Final = 1
"""Address of the heartbeat in docs/modbus-map.csv."""
_OF_SERVICE: Final = "JOIN service ON service.id = service_id WHERE service.name = %s"
Tell = Callable[[str], None]


class Observer:
    """Follows until `stop`. tell: is called with everything that is wrong, at once, from any thread."""

    def __init__(self, line: Line, tell: Tell) -> None:
        self.ledgers = {name: Ledger(name) for name in INSPECTING}
        self._line, self._tell = line, tell
        self._inspected_ns = dict.fromkeys(INSPECTING, 0)  # newest capture that was inspected, on the monotonic clock
        self.of_mqtt: set[tuple[int, int]] = set()
        self._before_mqtt: set[tuple[int, int]] | None = None  # transitions before the bridge first followed the strip
        self._at_plant_ns = 0  # newest capture that was inspected and has come through the broker
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._follow, args=(name,), daemon=True) for name in INSPECTING]
        for thread in self._threads:
            thread.start()

    def listen_to_broker(self) -> None:
        """Subscribe as the plant does; the session outlives the broker's restarts."""
        self._mqtt = mqtt.Client(CallbackAPIVersion.VERSION2, "soak", clean_session=False)
        self._mqtt.reconnect_delay_set(1, 1)
        self._mqtt.on_connect = lambda client, *_: client.subscribe("soak/#", 1)
        self._mqtt.on_message = self._hear
        self._mqtt.connect("127.0.0.1", self._line.ports["broker"])
        self._mqtt.loop_start()

    def stop(self) -> None:
        """Stop following."""
        self._over.set()
        for thread in self._threads:
            thread.join(20)
        self._mqtt.disconnect()
        self._mqtt.loop_stop()

    def recovery(self, target: str) -> Callable[[int], bool]:
        """Return a question that is asked again and again: does the target work, for what came after this moment
        (monotonic, ns)?"""
        if target in INSPECTING:
            return lambda since_ns: self._inspected_ns[target] > since_ns
        if target == "host":
            return lambda since_ns: all(at_ns > since_ns for at_ns in self._inspected_ns.values())
        if target == "mqtt":
            return lambda since_ns: self._at_plant_ns > since_ns
        if target == "page":
            return lambda _: self._page_answers()
        changing = self._stored if target == "history" else self._heartbeat
        before = changing()

        def changed(_: int) -> bool:
            nonlocal before
            now = changing()
            before = now if before is None else before
            return now is not None and now != before

        return changed

    def check_history(self, within_s: float) -> None:
        """Compare the history with what was heard, once it has stored all of it."""
        due = {name: dict(self.ledgers[name].next) for name in STORED}
        ends = {name: dict(self.ledgers[name].ends) for name in STORED}
        transitions = {name: set(self.ledgers[name].transitions) for name in STORED}
        until_s = time.monotonic() + within_s
        while (late := self._late(due)) and time.monotonic() < until_s:
            time.sleep(0.5)
        for one in late:
            self._tell(f"history: not stored within {within_s:g} s: {one}")
        with psycopg.connect(self._line.database) as database:
            for row in database.execute('SELECT topic, epoch, first, "end", reason FROM gap'):
                self._tell(f"history: messages could not be fetched: {row}")
            for name in STORED:
                coils = database.execute(
                    f"SELECT coil.id, epoch, ordinal FROM coil {_OF_SERVICE}",
                    (name,),
                ).fetchall()
                for coil, epoch, ordinal in coils:
                    spans = database.execute(
                        "SELECT first_line, lines FROM span WHERE coil_id = %s", (coil,)
                    ).fetchall()
                    for wrong in holes_and_doubles(spans):
                        self._tell(f"history: {name}, coil {epoch}/{ordinal}: {wrong}")
                    stored = max((first + lines for first, lines in spans), default=0)
                    if (heard := ends[name].get((epoch, ordinal), 0)) > stored:
                        self._tell(f"history: {name}, coil {epoch}/{ordinal} ends at line {stored}, heard were {heard}")
                found = set(
                    database.execute(
                        f"SELECT epoch, sequence FROM alarm {_OF_SERVICE}",
                        (name,),
                    )
                )
                if lacking := transitions[name] - found:
                    self._tell(f"history: {name}: {len(lacking)} transitions of alarms are not stored: {min(lacking)}")
        if lacking := self._not_at_plant():
            self._tell(f"mqtt: {len(lacking)} transitions of alarms did not reach the plant: {min(lacking)}")

    def _late(self, due: dict[str, dict[str, tuple[int, int]]]) -> list[str]:
        stored = dict(self._stored() or ())
        lacking = [
            f"{name} {topic}: {at}, stored: {stored.get((name, topic))}"
            for name, topics in due.items()
            for topic, at in topics.items()
            if stored.get((name, topic), (-1, -1)) < at
        ]
        return lacking + [f"mqtt alarm {one}" for one in sorted(self._not_at_plant())[:1]]

    def _not_at_plant(self) -> set[tuple[int, int]]:
        return self.ledgers["strip"].transitions - self.of_mqtt - (self._before_mqtt or set())

    def _follow(self, name: str) -> None:
        publish, serve = (self._line.endpoint(name, one) for one in ("publish", "serve"))
        ledger = self.ledgers[name]
        try:
            with Subscriber(publish, serve, ["frame", "alarm", "coil"], since="journal") as wire:
                while not self._over.is_set():
                    message: Any = wire.poll(0.2)
                    for wrong in ledger.take(message):
                        self._tell(wrong)
                    if isinstance(message, FrameMessage) and any(s.quality.value != "missed" for s in message.spans):
                        self._inspected_ns[name] = max(self._inspected_ns[name], message.timing.captured_ns)
        except Exception as error:
            self._tell(f"{name}: its consumer ended: {error!r}")

    def _hear(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        with suppress(ValueError, KeyError, TypeError):
            body = json.loads(message.payload)
            if body["topic"] == "frame":
                if self._before_mqtt is None:
                    self._before_mqtt = set(self.ledgers["strip"].transitions)
                if any(span["quality"] != "missed" for span in body["spans"]):
                    self._at_plant_ns = max(self._at_plant_ns, body["timing"]["captured_ns"])
            if body["topic"] == "alarm":
                self.of_mqtt.add((body["epoch"], body["sequence"]))

    def _page_answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._line.ports['page']}/login", timeout=1) as answer:
                return answer.status == 200
        except urllib.error.HTTPError as error:
            return error.code < 500
        except OSError:
            return False

    def _heartbeat(self) -> object:
        client = ModbusTcpClient("127.0.0.1", port=self._line.ports["modbus"], timeout=1, retries=0)
        try:
            read = client.read_input_registers(_HEARTBEAT, count=1) if client.connect() else None
            return None if read is None or read.isError() else read.registers[0]
        except (OSError, ModbusException):
            return None
        finally:
            client.close()

    def _stored(self) -> tuple[tuple[tuple[str, str], tuple[int, int]], ...] | None:
        try:
            with psycopg.connect(
                self._line.database, connect_timeout=2, options="-c statement_timeout=500"
            ) as database:
                rows = database.execute(
                    "SELECT service.name, topic, epoch, next FROM position JOIN service ON service.id = service_id"
                ).fetchall()
        except psycopg.Error:
            return None
        return tuple(((name, topic), (epoch, after)) for name, topic, epoch, after in rows)
