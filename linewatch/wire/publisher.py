"""The publish socket (XPUB, a PUB to subscribers): sends every message to all of them, and waits for none."""

import time
from types import TracebackType
from typing import Self

import zmq

from linewatch.config.wire import WireSettings
from linewatch.contracts.record import Record
from linewatch.wire.access.server_keys import ServerKeys
from linewatch.wire.connections import Connections
from linewatch.wire.endpoints import bind, keep_alive
from linewatch.wire.peers import HandshakeWatch

_LINGER_MS = 500
_MAX_FRAME_BYTES = 1024  # of a handshake with keys, at most; libzmq closes the connection of a longer one
_SUBSCRIPTIONS_WAITING = 8  # of one connection. In libzmq whoever sends stores all that wait, and may never end
_SUBSCRIPTIONS_AT_ONCE = 256
_MOST_UNREAD_BYTES = 64 << 10
_LOOK_S = 0.02  # between two looks for failed handshakes


class Publisher:
    """Opened, used and closed by one thread. A subscriber that does not read misses messages and never slows `send`.

    With keys, subscribers can connect once the `Server` of the same context runs, which authenticates them.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], settings: WireSettings, keys: ServerKeys | None
    ) -> None:
        self._context = context
        self._settings = settings
        self._keys = keys
        self.endpoint = settings.publish

    def __enter__(self) -> Self:
        """Bind. Raises WireError when the endpoint is in use or cannot be bound."""
        self._socket = self._context.socket(zmq.XPUB)
        try:
            self._socket.sndhwm = self._settings.send_high_water
            self._socket.linger = _LINGER_MS
            self._socket.rcvhwm = _SUBSCRIPTIONS_WAITING
            self._socket.setsockopt(zmq.XPUB_VERBOSER, 1)  # every subscription is counted
            self._socket.setsockopt(zmq.MAXMSGSIZE, _MAX_FRAME_BYTES)
            self._connections = Connections(self._socket, "publish", _MOST_UNREAD_BYTES)
            keep_alive(self._socket)
            if self._keys:
                self._keys.secure(self._socket)
            self._handshakes = HandshakeWatch(self._socket, "publish", self._connections)
            self._next_look_s = 0.0
            try:
                self.endpoint = bind(self._socket, self._settings.publish, "publish")
            except BaseException:
                self._handshakes.close()
                raise
        except BaseException:
            self._socket.close(0)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handshakes.close()
        self._socket.close()

    def send(self, record: Record) -> None:
        """Publish `topic | header | payload`; never blocks."""
        self._socket.send_multipart([record.topic.encode("ascii"), record.header, record.payload], zmq.DONTWAIT)
        if (now_s := time.monotonic()) >= self._next_look_s:
            self._look()
            self._next_look_s = now_s + _LOOK_S

    def _look(self) -> None:
        self._handshakes.look()
        for _ in range(_SUBSCRIPTIONS_AT_ONCE):
            try:
                self._connections.subscribed(self._socket.recv(zmq.DONTWAIT, copy=False))
            except zmq.Again:
                break
        self._connections.look(self._may_stay if self._keys else None)

    def _may_stay(self, public: bytes) -> bool:
        return self._keys is not None and self._keys.allowed.find(public) is not None
