"""The thread of a bridge that follows the service, so that a slow controller never holds it up."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from threading import Event, Thread
from typing import Generic, Protocol, TypeVar

import structlog

from linewatch.client import Loss, Lost, Position, Subscriber
from linewatch.contracts.errors import WireError
from linewatch.plant.settings import FollowedServiceSettings
from linewatch.plant.view import BridgeState, ServiceView
from linewatch.wire.schema import DECIDED_TOPICS, KEPT_TOPICS, AnyMessage, StatusMessage, Topic

ANSWER_TIMEOUT_S = 0.5  # while the follower waits for the service's answer, it follows nothing
SNAPSHOT_RETRY_S = 1.0
POLL_S = 0.1
RESUME_S = 2.0  # from a message that was not kept to the next subscription
ANSWERS_AWAITED = 10  # how often a service that does not answer is asked for missed messages before they are lost

log = structlog.get_logger()
T = TypeVar("T")


class Keeper(Protocol):
    """Keeps the messages of a service that must not be lost, so that a bridge goes on where it was, even after a kill.

    Used by the follower's thread alone.
    """

    @property
    def positions(self) -> Mapping[str, Position]:
        """Behind the kept messages, by topic: where a subscription begins. Topics that are not kept are not in it."""

    @property
    def journal(self) -> str | None:
        """The service's journal in which the positions are; None: not known yet."""

    def keep(self, message: AnyMessage | Lost, positions: Mapping[str, Position], journal: str | None) -> bool:
        """Keep a message and the positions behind it.

        False: it could not be kept. The follower then subscribes again, a little later, from the kept positions.
        """


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
        keeper: Keeper | None = None,
    ) -> None:
        """`view` is used by the follower's thread alone; `read` makes an immutable copy of what others need of it.

        `ended` is called when the thread fails; `stop` then raises the failure. whole_coil: begin with the coil under
        way, as far back as the service's journal goes, not with the next message. keeper: for bridges that must not
        lose messages while they do not run.
        """
        self._topics, self._whole_coil = tuple(topics), whole_coil
        self._settings = settings
        self._view = view
        self._read = read
        self._ended = ended
        self._keeper = keeper
        self._unanswered = 0
        self._next_snapshot_s = 0.0
        self._shown: dict[str, Position] = {}  # the view has every message before
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
        positions = self._begin_of_coil() if self._whole_coil else {}
        while not self._stop.is_set():
            with self._subscriber(positions) as subscriber:
                self._listen(subscriber)
                positions = subscriber.positions

    def _begin_of_coil(self) -> dict[str, Position]:
        """Ask until the service answers, or the follower ends."""
        with self._subscriber({}) as subscriber:
            while not self._stop.is_set():
                self.ticked_s = time.monotonic()
                with suppress(WireError):
                    return subscriber.begin_of_coil(KEPT_TOPICS)
                self._stop.wait(POLL_S)
        return {}

    def _subscriber(self, positions: Mapping[str, Position]) -> Subscriber:
        """Return a new subscription. positions: of topics that are not kept."""
        settings, keeper = self._settings, self._keeper
        kept = keeper.positions if keeper else {}
        return Subscriber(
            settings.publish,
            settings.serve,
            self._topics,
            keys=settings.client_keys,
            answer_timeout_s=ANSWER_TIMEOUT_S,
            positions={**positions, **kept},
            journal=keeper.journal if keeper else None,
        )

    def _listen(self, subscriber: Subscriber) -> None:
        """Take messages until the end, or until it is time to subscribe again since one could not be kept."""
        resume_s = float("inf")
        while not self._stop.is_set() and time.monotonic() < resume_s:
            message = subscriber.poll(POLL_S)
            self.ticked_s = time.monotonic()
            if message is None:
                continue
            if self._keeper and resume_s == float("inf") and not self._keep(self._keeper, message, subscriber):
                resume_s = self.ticked_s + RESUME_S
            if self._is_new(message, subscriber):
                self._view.take(message)
            if isinstance(message, StatusMessage):
                self._heard_s = self.ticked_s
                if self._view.wants_snapshot and self.ticked_s >= self._next_snapshot_s:
                    self._next_snapshot_s = self.ticked_s + SNAPSHOT_RETRY_S
                    self._sync(subscriber)
            self.newest, self._state = self._read(), self._view.state

    def _keep(self, keeper: Keeper, message: AnyMessage | Lost, subscriber: Subscriber) -> bool:
        if isinstance(message, Lost) and message.loss is Loss.NO_ANSWER and self._unanswered < ANSWERS_AWAITED:
            self._unanswered += 1
            log.warning("service_not_answering", reason=message.reason)
            return False
        if not keeper.keep(message, subscriber.positions, subscriber.journal):
            return False
        if not isinstance(message, StatusMessage):
            self._unanswered = 0
        return True

    def _is_new(self, message: AnyMessage | Lost, subscriber: Subscriber) -> bool:
        """Return whether the view has not had a message: a second subscription begins with some that it had."""
        if self._keeper is None or isinstance(message, StatusMessage):
            return True
        if isinstance(message, Lost):  # perhaps the journal was replaced, and sequences began anew
            self._shown.pop(message.topic, None)
            return True
        here, before = subscriber.positions.get(message.topic), self._shown.get(message.topic)
        if here is None:
            return True
        if before is not None and (here.epoch, here.next) <= (before.epoch, before.next):
            return False
        self._shown[message.topic] = here
        return True

    def _sync(self, subscriber: Subscriber) -> None:
        try:
            self._view.sync(subscriber.snapshot())
        except WireError as error:
            log.warning("snapshot_unavailable", why=str(error))
        else:
            log.info("synchronised")
