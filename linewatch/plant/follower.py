"""The thread of a bridge that follows the service, so that a slow controller never holds it up."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from threading import Event, Thread
from typing import Generic, TypeVar

import structlog

from linewatch.client import Position, Subscriber
from linewatch.contracts.errors import WireError
from linewatch.plant.settings import FollowedServiceSettings
from linewatch.plant.view import BridgeState, ServiceView
from linewatch.wire.schema import DECIDED_TOPICS, KEPT_TOPICS, StatusMessage, Topic

ANSWER_TIMEOUT_S = 0.5  # while the follower waits for the service's answer, it follows nothing
SNAPSHOT_RETRY_S = 1.0
POLL_S = 0.1

log = structlog.get_logger()
T = TypeVar("T")


class Follower(Generic[T]):
    """Keeps a view up to date over gaps and restarts of the service.

    `start` and `stop` belong to one thread; the rest may be read from any.
    """

    def __init__(
        self,
        settings: FollowedServiceSettings,
        view: ServiceView,
        read: Callable[[], T],
        ended: Callable[[], object],
        *,
        topics: Iterable[Topic] = DECIDED_TOPICS,
        whole_coil: bool = False,
    ) -> None:
        """`view` is used by the follower's thread alone; `read` makes an immutable copy of what others need of it.

        `ended` is called when the thread fails; `stop` then raises the failure. whole_coil: begin with the coil under
        way, as far back as the service's journal goes, not with the next message.
        """
        self._topics, self._whole_coil = tuple(topics), whole_coil
        self._settings = settings
        self._view = view
        self._read = read
        self._ended = ended
        self._stop = Event()
        self._thread = Thread(target=self._run, name="follower")
        self._failure: BaseException | None = None
        self._heard_s = float("-inf")
        self._state = view.state
        self.newest = read()
        """What `read` returned after the newest message."""
        self.ticked_s = time.monotonic()
        """When the thread last completed a turn."""

    def start(self) -> None:
        """Connect and follow. Waits for a service that does not run yet."""
        self._thread.start()

    def stop(self) -> None:
        """Return when the thread has ended; raise its failure, a WireError where the service is to blame."""
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    @property
    def state(self) -> BridgeState:
        """The service's state; silent when no status message came within `silence_s`."""
        silent = time.monotonic() - self._heard_s > self._settings.silence_s
        return BridgeState.SILENT if silent else self._state

    def _run(self) -> None:
        try:
            self._follow()
        except BaseException as failure:
            self._failure = failure
            self._ended()

    def _follow(self) -> None:
        next_snapshot_s = 0.0
        positions = self._begin_of_coil() if self._whole_coil else None
        with self._subscriber(positions) as subscriber:
            while not self._stop.is_set():
                message = subscriber.poll(POLL_S)
                self.ticked_s = time.monotonic()
                if message is None:
                    continue
                self._view.take(message)
                if isinstance(message, StatusMessage):
                    self._heard_s = self.ticked_s
                    if self._view.wants_snapshot and self.ticked_s >= next_snapshot_s:
                        next_snapshot_s = self.ticked_s + SNAPSHOT_RETRY_S
                        self._sync(subscriber)
                self.newest, self._state = self._read(), self._view.state

    def _subscriber(self, positions: Mapping[str, Position] | None = None) -> Subscriber:
        settings = self._settings
        return Subscriber(
            settings.publish,
            settings.serve,
            self._topics,
            keys=settings.client_keys,
            positions=positions,
            answer_timeout_s=ANSWER_TIMEOUT_S,
        )

    def _begin_of_coil(self) -> Mapping[str, Position] | None:
        """Ask until the service answers; None: the follower ends."""
        with self._subscriber() as subscriber:
            while not self._stop.is_set():
                self.ticked_s = time.monotonic()
                with suppress(WireError):
                    return subscriber.begin_of_coil(KEPT_TOPICS)
                self._stop.wait(POLL_S)
        return None

    def _sync(self, subscriber: Subscriber) -> None:
        try:
            self._view.sync(subscriber.snapshot())
        except WireError as error:
            log.warning("snapshot_unavailable", why=str(error))
        else:
            log.info("synchronised")
