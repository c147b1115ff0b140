"""Debian's mosquitto in a process of its own, and a plant's subscriber at it."""

import getpass
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from waiting import wait_until

PATIENCE_S = 120.0
MOSQUITTO = "/usr/sbin/mosquitto"


def need_mosquitto() -> None:
    """Skip the test where Debian's mosquitto is not on this machine."""
    if not Path(MOSQUITTO).exists():
        pytest.skip("mosquitto is not on this machine: apt-get install mosquitto")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


class Broker:
    """Stays at its port over a restart, and forgets everything then, as a broker without persistence does."""

    def __init__(self, folder: Path, options: str = "allow_anonymous true") -> None:
        need_mosquitto()
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._log = folder / "mosquitto.log"
        user = getpass.getuser()  # started by root, it would become a user who reads no test's files
        self._config.write_text(f"user {user}\nlistener {self.port} 127.0.0.1\n{options}\nlog_type all\n")
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([MOSQUITTO, "-c", self._config], stdout=log, stderr=log)
        wait_until(self._listens, PATIENCE_S)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def log(self) -> str:
        return self._log.read_text()

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        try:
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
        except OSError:
            return False
        return True


@dataclass(frozen=True)
class Heard:
    """A message that a subscriber got."""

    topic: str
    payload: bytes
    retain: bool
    qos: int
    at_s: float


class PlantClient:
    """A real MQTT 5 client in the plant: hears everything, remembers it, and publishes."""

    def __init__(self, broker: Broker, topic: str = "#", user: str = "", password: str = "") -> None:
        self.heard: list[Heard] = []
        self._news = threading.Condition()
        self._subscribed = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.reconnect_delay_set(0.05, 0.2)  # type: ignore[arg-type] - it takes parts of a second as well
        if user:
            self.client.username_pw_set(user, password)
        self.client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_disconnect = lambda *_: self._subscribed.clear()
        self.client.on_message = self._hear
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        self.wait_subscribed()

    def wait_subscribed(self) -> None:
        """Wait until the broker sends what is published: one that was started again has forgotten its subscribers."""
        assert self._subscribed.wait(PATIENCE_S)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def publish(self, topic: str, payload: bytes | str, retain: bool = False) -> None:
        self.client.publish(topic, payload, 1, retain).wait_for_publish(PATIENCE_S)

    def of(self, topic: str) -> list[Heard]:
        with self._news:
            return [one for one in self.heard if one.topic == topic]

    def wait_for(self, condition, within_s: float = PATIENCE_S):
        """Return the first true value of a condition on this client."""
        ends_s = time.monotonic() + within_s
        with self._news:
            while not (found := condition(self)):
                left_s = ends_s - time.monotonic()
                assert left_s > 0, [(one.topic, one.payload[:200]) for one in self.heard[-20:]]
                self._news.wait(min(left_s, 0.2))
        return found

    def _hear(self, _client, _data, message) -> None:
        with self._news:
            self.heard.append(
                Heard(message.topic, bytes(message.payload), message.retain, message.qos, time.monotonic())
            )
            self._news.notify_all()
