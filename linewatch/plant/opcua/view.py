"""What an OPC UA bridge keeps of the service: values to show, and news that no client may miss."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Lock

from linewatch.client import Lost
from linewatch.plant.defects import NewestDefects, NumberedDefect
from linewatch.plant.view import BridgeState, CoilView, ServiceView
from linewatch.wire.schema import (
    AlarmBody,
    AlarmMessage,
    AnyMessage,
    CoilMessage,
    DefectMessage,
    Snapshot,
    StatusMessage,
)

MAX_NEWS = 10_000


@dataclass(frozen=True, slots=True)
class AlarmsNow:
    """All alarms that are active or not acknowledged, and shelved rules: what went before is replaced."""

    alarms: tuple[AlarmBody, ...]


News = CoilMessage | AlarmMessage | AlarmsNow
"""What happened, in order. Values follow from the view; news become events."""


@dataclass(frozen=True, slots=True)
class ClientValues:
    """What clients read."""

    state: BridgeState = BridgeState.SILENT
    status: StatusMessage | None = None
    coil: CoilView = field(default_factory=CoilView)
    recipe: str | None = None
    config: str = ""
    heartbeat: int = 0
    messages_lost: int = 0
    defects: tuple[NumberedDefect, ...] = ()


class NewsQueue:
    """Passes news from the follower's thread to the event loop. Never blocks: the oldest is dropped, and counted."""

    def __init__(self, wake: Callable[[], object]) -> None:
        self.wake = wake
        self._news: deque[News] = deque()
        self._lock = Lock()
        self.dropped = 0
        """News that were dropped since the start."""

    def put(self, one: News) -> None:
        """Add news."""
        with self._lock:
            if len(self._news) >= MAX_NEWS:
                self._news.popleft()
                self.dropped += 1
            self._news.append(one)
        self.wake()

    def take(self) -> list[News]:
        """Return all news, oldest first, and forget them."""
        with self._lock:
            news, self._news = self._news, deque()
        return list(news)


class OpcuaView(ServiceView):
    """The view of the service with the newest defects; what becomes an event is put into a queue."""

    def __init__(self, news: NewsQueue, slots: int) -> None:
        super().__init__()
        self._news = news
        self._defects = NewestDefects(slots)
        self._shown = ClientValues()

    def take(self, message: AnyMessage | Lost) -> None:
        known, changes = isinstance(message, AlarmMessage) and self._is_known(message), self._defects.changes
        super().take(message)
        match message:
            case AlarmMessage() if not known:
                self._news.put(message)
            case CoilMessage():
                self._shown = replace(self._shown, recipe=message.recipe, config=message.config)
                self._news.put(message)
            case DefectMessage():
                self._defects.take(message)
                self._shown = replace(self._shown, defects=self._defects.shown)
        self._refresh()
        if self._defects.changes != changes:
            self._news.wake()

    def sync(self, snapshot: Snapshot) -> None:
        super().sync(snapshot)
        self._news.put(AlarmsNow((*snapshot.standing_alarms, *snapshot.suppressed_or_shelved)))
        self._refresh()

    def shown(self) -> ClientValues:
        """Return the values now; immutable, for other threads."""
        return self._shown

    def _refresh(self) -> None:
        self._shown = replace(
            self._shown,
            state=self.state,
            status=self.status,
            coil=self.coil,
            heartbeat=self.heartbeat,
            messages_lost=self.messages_lost,
        )
