"""Plain JSON topics: the service's messages as they are, and the present state retained."""

import time
from collections import deque
from collections.abc import Iterator
from typing import ClassVar, Final
from urllib.parse import quote

import structlog

from linewatch.contracts.verdict import Quality
from linewatch.plant.follower import Follower
from linewatch.plant.keeper import LOST, LostBody
from linewatch.plant.mqtt.bodies import BridgeBody, ReplyBody, StateBody
from linewatch.plant.mqtt.broker import Arrived, BrokerConnection, BrokerError, Will
from linewatch.plant.mqtt.commands import CommandDesk
from linewatch.plant.mqtt.face import Face, Outbox
from linewatch.plant.mqtt.settings import BrokerSettings, PlainSettings
from linewatch.plant.mqtt.view import Shown
from linewatch.plant.store import EventStore
from linewatch.plant.view import BridgeState
from linewatch.wire.schema import AlarmBody, Topic

STATE_EXPIRES_S: Final = 5.0
HEALTH_S: Final = 1.0
"""From one message of `status` to the next, and of `bridge` where only numbers changed."""
GOODBYE_S: Final = 1.0
BATCH: Final = 50
MAX_FOUND: Final = 10_000
"""Topics of alarms that the bridge takes note of to remove them; a client that makes more of them fills no memory."""
RETAINED: Final = frozenset({Topic.COIL})
"""Events whose newest is retained as well."""

log = structlog.get_logger()


class PlainFace(Face):
    """Publishes events with QoS 1 from the store, in order, and the state of the line as it changes."""

    name: ClassVar[str] = "plain"
    v5: ClassVar[bool] = True  # its answers tell whether the broker may take a message, and retained state expires

    def __init__(
        self,
        settings: PlainSettings,
        broker: BrokerSettings,
        store: EventStore,
        follower: Follower[Shown],
        desk: CommandDesk | None,
    ) -> None:
        super().__init__(broker, store, follower)
        self._settings, self._desk = settings, desk
        self._topics = frozenset({*settings.topics, LOST})
        self._replies: deque[tuple[Arrived, ReplyBody]] = deque(maxlen=1_000)
        self._begin()

    def _begin(self) -> None:
        """Forget what the last connection had."""
        self._outbox = Outbox(self.store, self.name)
        self._awaited: set[int] = set()  # messages with QoS 1 that are not of events
        self._told_drops: dict[int, int] = {}
        self._sent: dict[str, str] = {}  # retained state by topic
        self._found: set[str] = set()  # topics of alarms that the broker retains
        self._refused: str | None = None
        self._state_due_s = self._health_due_s = self._retained_due_s = 0.0

    def will(self) -> Will:
        return Will(self._topic("bridge"), BridgeBody(online=False).model_dump_json().encode(), 1, retain=True)

    def greeted(self) -> None:
        pass  # its will is the same each time

    def opened(self, connection: BrokerConnection) -> None:
        self._begin()
        topics = [self._topic("alarms/+")]
        connection.subscribe([*topics, self._topic("command")] if self._desk else topics)

    def turned(self, connection: BrokerConnection) -> None:
        if self._refused is not None:
            raise BrokerError(f"the broker refuses a message: {self._refused}; let the user write {self._topic('#')}")
        self._outbox.note()
        self._send_replies(connection)
        self._send_states(connection)
        self._send_events(connection)

    def closing(self, connection: BrokerConnection) -> None:
        end_s = time.monotonic() + GOODBYE_S
        number = self._send(connection, "bridge", self._bridge(online=False).model_dump_json(), retain=True)
        while number in self._awaited and time.monotonic() < end_s:
            connection.turn(0.05)
        self._outbox.note(at_once=True)

    def arrived(self, message: Arrived) -> None:
        if message.topic == self._topic("command"):
            if self._desk is not None:
                self._desk.take(message, self._reply)
        elif message.payload and message.topic.startswith(self._topic("alarms/")) and len(self._found) < MAX_FOUND:
            self._found.add(message.topic)

    def confirmed(self, number: int, refused: str | None) -> None:
        self._refused = self._refused or refused
        if refused is not None:
            return
        self._awaited.discard(number)
        self._outbox.answered(number)
        if (told := self._told_drops.pop(number, None)) is not None:
            self.store.forget_dropped(self.name, told)

    def _topic(self, rest: str) -> str:
        return f"{self._settings.prefix}/{rest}"

    def _send(self, connection: BrokerConnection, rest: str, payload: str, *, retain: bool) -> int:
        number = connection.publish(self._topic(rest), payload.encode(), 1, retain=retain)
        self._awaited.add(number)
        return number

    def _reply(self, message: Arrived, reply: ReplyBody) -> None:
        """Send the answer to a command with the next turn; called from any thread."""
        self._replies.append((message, reply))
        self.wake()

    def _send_replies(self, connection: BrokerConnection) -> None:
        while self._replies and self._room(connection) > 0:
            message, reply = self._replies[0]
            topic = message.response_topic or self._topic("reply")
            self._awaited.add(connection.reply(topic, reply.model_dump_json().encode(), message.correlation))
            self._replies.popleft()

    def _room(self, connection: BrokerConnection) -> int:
        """Return how many messages with QoS 1 the broker takes now; one more would end the connection."""
        return connection.in_flight_allowed - len(self._outbox) - len(self._awaited)

    def _send_events(self, connection: BrokerConnection) -> None:
        for event in self._outbox.next(min(self._room(connection), BATCH)):
            number = None
            if event.topic in self._topics:
                retain = event.topic in RETAINED
                number = connection.publish(self._topic(event.topic), event.body, 1, retain=retain)
            self._outbox.sent(event, number)

    def _send_states(self, connection: BrokerConnection) -> None:
        now_s, shown, state = time.monotonic(), self.follower.newest, self.state
        if now_s >= self._health_due_s:
            self._health_due_s = now_s + HEALTH_S
            self._send_drops(connection)
            if shown.status is not None and state is not BridgeState.SILENT:
                status = shown.status.model_dump_json().encode()
                connection.publish(self._topic("status"), status, 0, retain=True, expires_s=STATE_EXPIRES_S)
        if now_s >= self._state_due_s:
            self._state_due_s = now_s + self._settings.state_s
            body = self._state(shown, state).model_dump_json().encode()
            connection.publish(self._topic("state"), body, 0, retain=True, expires_s=STATE_EXPIRES_S)
        if now_s >= self._retained_due_s and self._room(connection) > 1:
            for topic, payload in self._due(shown, state):
                self._send(connection, topic, payload, retain=True)
                if self._room(connection) <= 1:
                    return  # the rest follows with the next turn
            self._retained_due_s = now_s + self._settings.state_s

    def _send_drops(self, connection: BrokerConnection) -> None:
        for drop in self.store.dropped_of(self.name):
            if drop.number in self._told_drops.values() or self._room(connection) <= 1:
                continue
            lost = LostBody(
                topic=drop.topic,
                epoch=drop.epoch,
                first=drop.first,
                end=drop.end,
                messages=drop.events,
                reason="the broker was away for longer than the bridge's store reaches ([store] max_mb)",
            )
            self._told_drops[self._send(connection, "lost", lost.model_dump_json(), retain=False)] = drop.number

    def _due(self, shown: Shown, state: BridgeState) -> Iterator[tuple[str, str]]:
        """Yield retained topics that are not as the broker has them, and their payload; empty removes a topic."""
        wanted = {"bridge": self._bridge(online=True).model_copy(update={"at_unix_ms": None}).model_dump_json()}
        known = state not in (BridgeState.SILENT, BridgeState.CATCHING_UP)
        alarms = {f"alarms/{quote(one.id, safe='')}": one for one in shown.alarms}
        for topic, alarm in alarms.items():
            wanted[topic] = alarm.model_dump_json(include=set(AlarmBody.model_fields))
        for topic, payload in wanted.items():
            if self._sent.get(topic) != payload:
                self._sent[topic] = payload
                yield topic, self._bridge(online=True).model_dump_json() if topic == "bridge" else payload
        if not known:
            return
        prefix = self._topic("")
        found = {topic.removeprefix(prefix) for topic in self._found}
        for topic in (found | self._sent.keys()) - wanted.keys():
            self._sent.pop(topic, None)
            self._found.discard(prefix + topic)
            yield topic, ""

    def _bridge(self, *, online: bool) -> BridgeBody:
        return BridgeBody(
            online=online,
            at_unix_ms=self.now_ms(),
            service=self.state.name.lower(),
            waiting=max(0, self.store.waiting(self.name) - len(self._outbox)),
            dropped=self.store.dropped(self.name),
        )

    def _state(self, shown: Shown, state: BridgeState) -> StateBody:
        status, coil = shown.status, shown.coil
        return StateBody(
            service=state.name.lower(),
            quality=shown.quality(state),
            heartbeat=shown.heartbeat,
            at_unix_ms=self.now_ms(),
            coil=coil.id,
            coil_state=coil.state,
            along_mm=coil.along_mm,
            coverage=min(1.0, max(0.0, coil.coverage)),
            inspected_mm=coil.length_mm[Quality.INSPECTED],
            degraded_mm=coil.length_mm[Quality.DEGRADED],
            missed_mm=coil.length_mm[Quality.MISSED],
            alarms_standing=status.alarms_standing if status else 0,
            alarms_unacknowledged=status.alarms_unacknowledged if status else 0,
            defects=status.defects if status else 0,
        )
