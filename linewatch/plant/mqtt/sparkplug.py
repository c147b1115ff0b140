"""Sparkplug B 3.0: an edge node with one device: births, deaths, store and forward, and a Primary Host.

Sparkplug sends data with QoS 0, which nothing confirms. So after a batch of events the face asks the broker something
that changes nothing (it unsubscribes from a topic that it never subscribed to): since a broker answers a connection in
order, the answer confirms everything before. What has no answer when the connection breaks is sent again as historical.
"""

import json
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum, auto
from typing import Any, ClassVar, Final

import structlog

from linewatch.plant.follower import Follower
from linewatch.plant.mqtt.bodies import ReplyBody
from linewatch.plant.mqtt.broker import Arrived, BrokerConnection, BrokerError, Will
from linewatch.plant.mqtt.commands import CommandDesk
from linewatch.plant.mqtt.face import Face, Outbox
from linewatch.plant.mqtt.metrics import (
    ANSWER,
    BD_SEQ,
    COMMAND,
    DEVICE_METRICS,
    EVENT_TOPICS,
    NODE_METRICS,
    REBIRTH,
    BridgeCounts,
    Metric,
    aliases,
)
from linewatch.plant.mqtt.payload import DataType, MetricValue, PayloadError, Value, decode_payload, encode_payload
from linewatch.plant.mqtt.settings import BrokerSettings, SparkplugSettings
from linewatch.plant.mqtt.view import Shown
from linewatch.plant.store import EventStore, StoredEvent
from linewatch.plant.view import BridgeState

NAMESPACE: Final = "spBv1.0"
BATCH: Final = 100
"""Events between two questions to the broker."""
ASK_S: Final = 0.2
"""A smaller batch is asked about after so long."""
_NODE_ALIASES, _DEVICE_ALIASES = aliases("node", NODE_METRICS), aliases("device", DEVICE_METRICS)

log = structlog.get_logger()


class _Phase(Enum):
    AWAITING = auto()  # the Primary Host
    BORN = auto()
    HOST_LEFT = auto()


class SparkplugFace(Face):
    """Publishes the line as an edge node with one device."""

    name: ClassVar[str] = "spb"
    v5: ClassVar[bool] = False  # what every Sparkplug host's broker speaks

    def __init__(
        self,
        settings: SparkplugSettings,
        broker: BrokerSettings,
        store: EventStore,
        follower: Follower[Shown],
        desk: CommandDesk | None = None,
    ) -> None:
        super().__init__(broker, store, follower)
        self._settings, self._desk = settings, desk
        self._answers: deque[str] = deque(maxlen=1_000)
        self._bd_seq = -1
        self._host_at_ms = -1  # of the newest statement of the Primary Host
        self._values: dict[str, Value | None] = {}  # of all metrics, as sent last
        self._begin()

    def _begin(self) -> None:
        """Forget what the last connection had."""
        self._phase = _Phase.AWAITING
        self._outbox = Outbox(self.store, self.name)
        self._born_at, self._born_ms = 0, 0  # the newest event at the birth, and when that was
        self._seq = 0
        self._rebirth = self._device_born = self._host_online = False
        self._asked: int | None = None  # number of the question that has no answer yet
        self._unasked: list[int] = []  # events that were sent since
        self._asked_about: tuple[int, ...] = ()
        self._ask_due_s = self._state_due_s = 0.0

    def will(self) -> Will:
        kept = self.store.fact("bd_seq")
        self._bd_seq = (int(kept) + 1) % 256 if kept is not None and kept.isdecimal() else 0
        return Will(self._topic("NDEATH"), self._death(), 1, retain=False)

    def greeted(self) -> None:
        self.store.keep_fact("bd_seq", str(self._bd_seq))

    def opened(self, connection: BrokerConnection) -> None:
        self._begin()
        host = self._settings.primary_host
        topics = [self._topic("NCMD")]
        if self._desk is not None:
            topics.append(self._topic("DCMD", of_device=True))
        connection.subscribe([*topics, self._host_topic] if host else topics)
        if host is None:
            self._bear(connection)

    def turned(self, connection: BrokerConnection) -> None:
        if self._phase is _Phase.HOST_LEFT:
            connection.publish(self._topic("NDEATH"), self._death(), 0, retain=False)
            connection.close()
            raise BrokerError(f"the Primary Host {self._settings.primary_host} is offline: its return is awaited")
        if self._phase is _Phase.AWAITING:
            self.trouble = "" if self._host_online else f"the Primary Host {self._settings.primary_host} is offline"
            if self._host_online:
                self._bear(connection)
            return
        if self._rebirth:
            self._bear(connection)
        self._outbox.note()
        state = self.state
        alive = state is not BridgeState.SILENT or self.store.waiting(self.name) > 0
        if alive and not self._device_born:
            self._bear_device(connection)
        if self._device_born:
            self._send_events(connection)
            self._send_answers(connection)
            self._send_state(connection)
        if not alive and self._device_born:
            payload = encode_payload(self.now_ms(), self._next_seq(), ())
            connection.publish(self._topic("DDEATH", of_device=True), payload, 0, retain=False)
            self._device_born = False

    def closing(self, connection: BrokerConnection) -> None:
        if self._phase is _Phase.BORN:
            connection.publish(self._topic("NDEATH"), self._death(), 0, retain=False)
        self._outbox.note(at_once=True)

    def arrived(self, message: Arrived) -> None:
        if message.topic == self._host_topic:
            self._hear_host(message.payload)
        elif message.topic == self._topic("NCMD"):
            self._node_command(message)
        elif message.topic == self._topic("DCMD", of_device=True):
            self._device_command(message)

    def confirmed(self, number: int, refused: str | None) -> None:
        if number == self._asked:
            self._asked = None
            for event in self._asked_about:
                self._outbox.answered(event)
            self._asked_about = ()

    @property
    def _host_topic(self) -> str:
        return f"{NAMESPACE}/STATE/{self._settings.primary_host}"

    def _topic(self, kind: str, *, of_device: bool = False) -> str:
        settings = self._settings
        device = f"/{settings.device}" if of_device else ""
        return f"{NAMESPACE}/{settings.group}/{kind}/{settings.node}{device}"

    def _next_seq(self) -> int:
        self._seq = (self._seq + 1) % 256
        return self._seq

    def _death(self) -> bytes:
        return encode_payload(self.now_ms(), None, [MetricValue(BD_SEQ, None, DataType.INT64, self._bd_seq)])

    def _bear(self, connection: BrokerConnection) -> None:
        """Send NBIRTH, and DBIRTH where the line is there."""
        if self._phase is not _Phase.BORN:
            self._born_at, self._born_ms = self.store.newest, self.now_ms()
        self._phase, self._rebirth, self._device_born, self._seq = _Phase.BORN, False, False, 0
        counts = self._counts()
        self._values |= {metric.name: metric.read(counts) for metric in NODE_METRICS}
        payload = encode_payload(
            self.now_ms(),
            0,
            [
                MetricValue(BD_SEQ, None, DataType.INT64, self._bd_seq),
                MetricValue(REBIRTH, None, DataType.BOOLEAN, False),
                *self._described(NODE_METRICS, _NODE_ALIASES),
            ],
        )
        connection.publish(self._topic("NBIRTH"), payload, 0, retain=False)

    def _bear_device(self, connection: BrokerConnection) -> None:
        self._values |= self._state_values()
        payload = encode_payload(self.now_ms(), self._next_seq(), self._described(DEVICE_METRICS, _DEVICE_ALIASES))
        connection.publish(self._topic("DBIRTH", of_device=True), payload, 0, retain=False)
        self._device_born = True

    def _described(self, metrics: tuple[Metric, ...], of: dict[str, int]) -> Iterator[MetricValue]:
        for metric in metrics:
            value = self._values.get(metric.name)
            yield MetricValue(metric.name, of[metric.name], metric.datatype, value, unit=metric.unit)

    def _counts(self) -> BridgeCounts:
        waiting = max(0, self.store.waiting(self.name) - len(self._outbox))
        return BridgeCounts(waiting, self.store.dropped(self.name))

    def _state_values(self) -> dict[str, Value | None]:
        shown, state = self.follower.newest, self.state
        return {metric.name: metric.read(shown, state) for metric in DEVICE_METRICS if metric.topic is None}

    def _send_state(self, connection: BrokerConnection) -> None:
        now_s = time.monotonic()
        if now_s < self._state_due_s:
            return
        self._state_due_s = now_s + self._settings.state_s
        counts = self._counts()
        node = {metric.name: metric.read(counts) for metric in NODE_METRICS}
        for kind, metrics, of, values in (
            ("NDATA", NODE_METRICS, _NODE_ALIASES, node),
            ("DDATA", DEVICE_METRICS, _DEVICE_ALIASES, self._state_values()),
        ):
            changed = [
                MetricValue(None, of[metric.name], metric.datatype, values[metric.name])
                for metric in metrics
                if metric.name in values and values[metric.name] != self._values.get(metric.name)
            ]
            if changed:
                self._values |= values
                payload = encode_payload(self.now_ms(), self._next_seq(), changed)
                connection.publish(self._topic(kind, of_device=kind == "DDATA"), payload, 0, retain=False)

    def _send_events(self, connection: BrokerConnection) -> None:
        """Send events until a batch waits for the broker's answer."""
        for event in self._outbox.next(BATCH - len(self._unasked)):
            metrics = list(self._event_metrics(event))
            if metrics:
                payload = encode_payload(self.now_ms(), self._next_seq(), metrics)
                connection.publish(self._topic("DDATA", of_device=True), payload, 0, retain=False)
            self._outbox.sent(event, event.number)
            self._unasked.append(event.number)
        now_s = time.monotonic()
        if self._unasked and self._asked is None and (len(self._unasked) >= BATCH or now_s >= self._ask_due_s):
            self._ask_due_s = now_s + ASK_S
            self._asked_about, self._unasked = tuple(self._unasked), []
            self._asked = connection.ask()

    def _event_metrics(self, event: StoredEvent) -> Iterator[MetricValue]:
        if event.topic not in EVENT_TOPICS:
            return
        body: dict[str, Any] = json.loads(event.body)
        historical = event.number <= self._born_at or event.at_unix_ms < self._born_ms
        for metric in DEVICE_METRICS:
            if metric.topic != event.topic:
                continue
            value = self._values[metric.name] = metric.read(body)
            yield MetricValue(
                None, _DEVICE_ALIASES[metric.name], metric.datatype, value, event.at_unix_ms, historical=historical
            )

    def _send_answers(self, connection: BrokerConnection) -> None:
        while self._answers:
            answer = self._values[ANSWER] = self._answers.popleft()
            metric = MetricValue(None, _DEVICE_ALIASES[ANSWER], DataType.STRING, answer, self.now_ms())
            payload = encode_payload(self.now_ms(), self._next_seq(), [metric])
            connection.publish(self._topic("DDATA", of_device=True), payload, 0, retain=False)

    def _node_command(self, message: Arrived) -> None:
        metrics = _metrics(message)
        if metrics is None:
            return
        if any(one.name == REBIRTH and one.value is True for one in metrics):
            self._rebirth = True
        else:
            log.warning("command_refused", topic=message.topic, why=f"no metric {REBIRTH} that is true")

    def _device_command(self, message: Arrived) -> None:
        """Hand commands to the desk, which checks them. A host names the metric, or has its alias from the birth."""
        metrics, alias = _metrics(message), _DEVICE_ALIASES[COMMAND]
        if metrics is None or self._desk is None:
            return
        named = (one.value for one in metrics if one.name == COMMAND or one.alias == alias)
        asked = [value for value in named if isinstance(value, str)]
        if not asked:
            log.warning("command_refused", topic=message.topic, why=f"no metric {COMMAND} that is a string")
        for value in asked:
            self._desk.take(replace(message, payload=value.encode()), self._answer)

    def _answer(self, _message: Arrived, reply: ReplyBody) -> None:
        """Send the answer with the next turn; called from any thread."""
        self._answers.append(reply.model_dump_json())
        self.wake()

    def _hear_host(self, payload: bytes) -> None:
        """Take what the Primary Host says of itself; what is older than its newest statement does not count."""
        try:
            said = json.loads(payload)
            online, at_ms = said["online"], said["timestamp"]
            if type(online) is not bool or type(at_ms) is not int:
                raise ValueError("online is no boolean, or timestamp no number")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            log.warning("host_state_refused", host=self._settings.primary_host, why=f"{type(error).__name__}: {error}")
            return
        if at_ms < self._host_at_ms:
            return
        self._host_at_ms = at_ms
        if online is not self._host_online:
            log.info("primary_host", host=self._settings.primary_host, online=online)
        self._host_online = online
        if not online and self._phase is _Phase.BORN:
            self._phase = _Phase.HOST_LEFT


def _metrics(message: Arrived) -> tuple[MetricValue, ...] | None:
    """Return the metrics of a command; None of what was retained or is no payload."""
    why = "it was retained by the broker"
    if not message.retain:
        try:
            return decode_payload(message.payload).metrics
        except PayloadError as error:
            why = str(error)
    log.warning("command_refused", topic=message.topic, why=why)
    return None
