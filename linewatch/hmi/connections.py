"""Bounds on connections: slow and silent clients are cut, the longest-waiting first, and everybody else gets in."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS: Final = 600
HEAD_S: Final = 5.0
"""A client that has not sent a whole head of a request by then is cut."""
ANSWER_S: Final = 40.0
"""A client that has not taken its answer by then is cut; the guard ends the work on one before (REQUEST_S)."""


class BoundedHttp(H11Protocol):
    """uvicorn's HTTP/1.1 with a time for each request's head and answer, and a bound on connections."""

    waits_since: float | None = None
    """Since when a request is awaited, by the loop's clock; None while one is under way."""
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Take a connection; beyond the bound the one that has waited longest for a request goes."""
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > MOST_CONNECTIONS:
            waiting = [one for one in self.connections if isinstance(one, BoundedHttp) and one.waits_since is not None]
            if waiting:
                min(waiting, key=lambda one: one.waits_since or 0.0).cut()

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request."""
        if self._deadline is None and self._is_idle():
            self._await_head()
        super().data_received(data)
        self._await_answer()

    def on_response_complete(self) -> None:
        """Await another request: uvicorn closes the connection after a time without any."""
        self._head_came()
        self.waits_since = self.loop.time()
        super().on_response_complete()
        self._await_answer()  # of a request that came with the one before

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Hand the connection over: from now on it is a socket's, which has its own pings and bounds."""
        self._head_came()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._head_came()
        super().connection_lost(exc)

    def cut(self) -> None:
        """Close the connection at once."""
        if self.waits_since is not None and self.transport is not None:
            self.waits_since = None  # it is closed in the loop's next turn, and must not be chosen again until then
            self.transport.abort()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        self.waits_since = self.loop.time()
        self._deadline = self.loop.call_later(HEAD_S, self.cut)

    def _await_answer(self) -> None:
        if self.waits_since is not None and not self._is_idle():
            self._head_came()
            self._deadline = self.loop.call_later(ANSWER_S, self.transport.abort)

    def _head_came(self) -> None:
        self.waits_since = None
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
