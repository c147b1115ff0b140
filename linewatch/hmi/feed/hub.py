"""Sends the view's news to every browser: each message is made once, and whoever does not keep up begins anew."""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from linewatch.hmi.feed.live_view import TOPICS, LiveView
from linewatch.plant.follower import Follower
from linewatch.plant.view import BridgeState

TICK_S: Final = 0.05
MOST_WAITING: Final = 100
"""Messages that wait for a browser, 5 s of them; beyond it the browser gets the whole state again."""
MOST_BROWSERS: Final = 256


@dataclass(slots=True, eq=False)
class BrowserFeed:
    """One browser's socket. `messages` waits for its news."""

    topics: frozenset[str]
    needs_state: bool = True
    waiting: deque[bytes] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield JSON objects: `state` first, then `news`, each of the topics that were asked for."""
        while True:
            await self.arrived.wait()
            self.arrived.clear()
            while self.waiting:
                yield self.waiting.popleft()


class Hub:
    """Made and used in the event loop."""

    def __init__(self, view: LiveView, follower: Follower[None]) -> None:
        self._view, self._follower = view, follower
        self._listeners: set[BrowserFeed] = set()
        self.begun_anew = 0
        """How often a browser did not keep up and got the whole state again."""

    def __len__(self) -> int:
        return len(self._listeners)

    @contextmanager
    def listening(self, topics: Iterable[str]) -> Iterator[BrowserFeed]:
        """Yield a listener of topics. Raises ValueError for an unknown one, OverflowError beyond MOST_BROWSERS."""
        wanted = frozenset(topics)
        if not wanted <= set(TOPICS):
            raise ValueError(f"unknown topics {sorted(wanted - set(TOPICS))}; expected some of {', '.join(TOPICS)}")
        if len(self._listeners) >= MOST_BROWSERS:
            raise OverflowError(f"{MOST_BROWSERS} browsers are connected already")
        listener = BrowserFeed(wanted)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def run(self) -> None:
        """Send news on until the task is cancelled."""
        while True:
            self.tick()
            await asyncio.sleep(TICK_S)

    def tick(self) -> None:
        """Fetch the news and give them to every listener."""
        news, anew = self._view.news()
        if not self._listeners:
            return
        silent = self._follower.state is BridgeState.SILENT
        if "pulse" in news and silent:
            news["pulse"]["service"] = BridgeState.SILENT.name.lower()
        envelope = {"at_unix_ms": time.time_ns() // 1_000_000, "silent": silent}
        parts = {topic: _encode(item) for topic, item in news.items()}
        whole: dict[str, bytes] | None = None
        made: dict[tuple[str, frozenset[str]], bytes] = {}
        for listener in self._listeners:
            if len(listener.waiting) >= MOST_WAITING:
                listener.waiting.clear()
                listener.needs_state = True
                self.begun_anew += 1
            kind = "state" if listener.needs_state or anew else "news"
            if kind == "state" and whole is None:
                state = self._view.state_of()
                if silent and state["pulse"] is not None:
                    state["pulse"]["service"] = BridgeState.SILENT.name.lower()
                whole = {topic: _encode(item) for topic, item in state.items()}
            listener.needs_state = False
            message = made.get((kind, listener.topics))
            if message is None:
                of = whole if kind == "state" and whole is not None else parts
                message = made[kind, listener.topics] = _assembled(kind, envelope, listener.topics, of)
            listener.waiting.append(message)
            listener.arrived.set()


def _encode(item: Any) -> bytes:
    return json.dumps(item, separators=(",", ":"), allow_nan=False).encode()


def _assembled(kind: str, envelope: dict[str, Any], topics: frozenset[str], parts: dict[str, bytes]) -> bytes:
    body = b",".join(b'"%s":%s' % (topic.encode(), parts[topic]) for topic in sorted(topics) if topic in parts)
    return b'%s,"%s":{%s}}' % (_encode(envelope)[:-1], kind.encode(), body)
