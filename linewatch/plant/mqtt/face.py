"""The thread of one face of the bridge: it connects to the broker for ever, and sends what waits in the store."""

import random
import socket
import time
from abc import ABC, abstractmethod
from collections import deque
from threading import Event, Thread
from typing import ClassVar, Final

import structlog

from linewatch.plant.follower import Follower
from linewatch.plant.mqtt.broker import Arrived, BrokerConnection, BrokerError, Will
from linewatch.plant.mqtt.settings import BrokerSettings
from linewatch.plant.mqtt.view import Shown
from linewatch.plant.store import EventStore, StoredEvent
from linewatch.plant.view import BridgeState

RETRY_S: Final = (1.0, 30.0)
"""From a failed connection to the next: at first, and at most; it doubles. Chance shortens each by up to half, so that
 the bridges of a mill do not all come back at once.
"""
CONFIRM_S: Final = 0.1
"""From one time that confirmed events are noted in the store to the next, at the least."""
TURN_S: Final = 0.05
STOP_S: Final = 3.0
"""How long the end waits for a broker that is being connected to."""

log = structlog.get_logger()


class Face(ABC):
    """One connection to the broker, and what it publishes there.

    `start`, `end`, `join` and `wake` may be called from any thread; the methods beneath belong to the face's.
    """

    name: ClassVar[str]
    v5: ClassVar[bool]

    def __init__(self, settings: BrokerSettings, store: EventStore, follower: Follower[Shown]) -> None:
        self._broker, self.store, self.follower = settings, store, follower
        self.connected = False
        """Whether the broker has the connection now."""
        self.trouble = "not connected yet"
        """Why the plant is not served; "": it is."""
        self.turned_s = time.monotonic()
        """When the thread last made a turn."""
        self._stop = Event()
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        self._thread = Thread(target=self._run, name=f"mqtt-{self.name}", daemon=True)

    def start(self) -> None:
        """Connect, whenever the broker can be reached."""
        self._thread.start()

    def wake(self) -> None:
        """Look for new events now."""
        try:
            self._wake.send(b"\0")
        except BlockingIOError:
            pass  # it has been woken often enough
        except OSError:
            pass  # it has ended

    def end(self) -> None:
        """Have the thread say goodbye to the broker and end."""
        self._stop.set()
        self.wake()

    def join(self) -> None:
        """Return when the thread has ended; after `STOP_S` at the latest."""
        self._thread.join(STOP_S)

    @property
    def state(self) -> BridgeState:
        """The state of the service."""
        return self.follower.state

    def now_ms(self) -> int:
        """Return the time in milliseconds since 1970 (UTC)."""
        return time.time_ns() // 1_000_000

    @abstractmethod
    def will(self) -> Will:
        """Return the will of the next connection."""

    @abstractmethod
    def greeted(self) -> None:
        """Take note that the broker has been sent CONNECT with the will."""

    @abstractmethod
    def opened(self, connection: BrokerConnection) -> None:
        """Subscribe and publish what a new connection begins with."""

    @abstractmethod
    def turned(self, connection: BrokerConnection) -> None:
        """Publish what is due; called after every turn. Raises BrokerError to end the connection."""

    @abstractmethod
    def closing(self, connection: BrokerConnection) -> None:
        """Publish what a connection ends with."""

    @abstractmethod
    def arrived(self, message: Arrived) -> None:
        """Take a message of a subscribed topic; never raises."""

    @abstractmethod
    def confirmed(self, number: int, refused: str | None) -> None:
        """Take the broker's answer to a message; never raises."""

    def _run(self) -> None:
        wait_s = RETRY_S[0]
        while not self._stop.is_set():
            self.turned_s = time.monotonic()
            try:
                if self._connect():
                    wait_s = RETRY_S[0]
            except Exception as error:  # a fault of ours must not end the other face, nor leave this one silent
                log.exception("face_failed", face=self.name)
                self.trouble = f"the bridge failed: {type(error).__name__}"
            self.connected = False
            self._stop.wait(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(2 * wait_s, RETRY_S[1])

    def _connect(self) -> bool:
        """Serve one connection until it is lost; return whether there was one."""
        broker = self._broker.url
        try:
            connection = BrokerConnection(self._broker, self.name, self.will(), self, self._woken, v5=self.v5)
        except BrokerError as error:
            log.warning("broker_unreachable", broker=broker, face=self.name, why=str(error))
            self.trouble = str(error)
            return False
        log.info("broker_connected", broker=broker, face=self.name)
        self.connected, self.trouble = True, ""
        try:
            self.opened(connection)
            while not self._stop.is_set():
                connection.turn(TURN_S)
                self.turned_s = time.monotonic()
                self.turned(connection)
            self.closing(connection)
            connection.close()
        except BrokerError as error:
            log.warning("broker_lost", broker=broker, face=self.name, why=str(error))
            self.trouble = str(error)
        finally:
            connection.abandon()
        return True


class Outbox:
    """The events of one connection on their way: sent in order, and confirmed in the store in order."""

    def __init__(self, store: EventStore, consumer: str) -> None:
        self._store, self._consumer = store, consumer
        self._sent = store.confirmed(consumer)
        self._on_the_way: deque[tuple[int, int]] = deque()  # number of the message, number of the event
        self._awaited: set[int] = set()
        self._noted_s = 0.0

    def __len__(self) -> int:
        return len(self._on_the_way)

    def next(self, at_most: int) -> list[StoredEvent]:
        """Return the next events that are to be sent, oldest first."""
        return self._store.after(self._sent, at_most) if at_most > 0 else []

    def sent(self, event: StoredEvent, message: int | None) -> None:
        """Note that an event was sent with a message; None: this face does not publish it."""
        self._sent = event.number
        self._on_the_way.append((0 if message is None else message, event.number))
        if message is not None:
            self._awaited.add(message)

    def answered(self, message: int) -> None:
        """Note that the broker has a message; others than those of events do not matter."""
        self._awaited.discard(message)

    def note(self, *, at_once: bool = False) -> None:
        """Confirm in the store what the broker has without a gap, a few times a second."""
        if not at_once and time.monotonic() < self._noted_s + CONFIRM_S:
            return
        self._noted_s = time.monotonic()
        confirmed = 0
        while self._on_the_way and self._on_the_way[0][0] not in self._awaited:
            _, confirmed = self._on_the_way.popleft()
        if confirmed:
            self._store.confirm(self._consumer, confirmed)
