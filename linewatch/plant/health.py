"""The health of a bridge's link to the plant, reported to the service, whose status shows it to everybody."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread
from typing import Final

import structlog

from linewatch.client.connection import Connection
from linewatch.client.requests import RefusedError
from linewatch.contracts.bounds import made_printable
from linewatch.contracts.errors import WireError
from linewatch.plant.settings import BridgeSettings

REPORT_S: Final = 2.0
ANSWER_TIMEOUT_S: Final = 0.5
_TROUBLE_LENGTH: Final = 300  # on the wire

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LinkHealth:
    """What a bridge tells of its side of the plant.

    trouble: why the plant is not served; "": it is. peers: controllers, clients or brokers that are connected.
    waiting: messages that are kept until the plant takes them. dropped: those that it never gets, since the start.
    """

    trouble: str = ""
    peers: int = 0
    waiting: int = 0
    dropped: int = 0


class HealthReporter:
    """Reports from a thread of its own, every 2 s. A service that is down is asked again; nothing waits for it."""

    def __init__(self, protocol: str, settings: BridgeSettings, health: Callable[[], LinkHealth]) -> None:
        """`health` is called from the thread, and must not wait."""
        self._protocol, self._settings, self._health = protocol, settings, health
        self._stop = Event()
        self._thread = Thread(target=self._run, name="health", daemon=True)
        self._refused = ""

    def start(self) -> None:
        """Begin to report."""
        self._thread.start()

    def stop(self) -> None:
        """Say that the bridge ends, and return. Takes no longer than half a second where no service answers."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        service = self._settings.service
        try:
            with Connection(service.serve, "serve", ANSWER_TIMEOUT_S, service.client_keys) as connection:
                while not self._stop.is_set():
                    self._report(connection)
                    self._stop.wait(REPORT_S)
                self._report(connection, ending=True)
        except WireError as error:  # a key that cannot be read: the follower says so as well
            log.warning("health_not_reported", why=str(error))

    def _report(self, connection: Connection, *, ending: bool = False) -> None:
        health = self._health()
        try:
            connection.report_bridge(
                name=self._settings.name or self._protocol,
                protocol=self._protocol,
                trouble=made_printable(health.trouble)[:_TROUBLE_LENGTH] or None,
                peers=health.peers,
                waiting=health.waiting,
                dropped=health.dropped,
                ending=ending,
            )
        except RefusedError as error:  # by a service of before bridges reported, or one that has too many
            if str(error) != self._refused:
                self._refused = str(error)
                log.warning("health_not_reported", why=self._refused)
        except WireError:
            pass  # the service is down, which the follower logs
