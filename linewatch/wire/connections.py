"""Quotas of the connections to a socket: how many there are, what they may leave in memory, whose key still counts.

libzmq bounds none of these. It has no call that closes one connection either, but it names the descriptor of each, and
that can be shut down: to libzmq it looks like a peer that has gone.
"""

import os
import socket as sockets
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import structlog
import zmq

from linewatch.wire.peers import UNKNOWN, address_behind, socket_behind

log = structlog.get_logger()

MOST_CONNECTIONS: Final = 256
MOST_OF_A_PEER: Final = 64
"""Of one address. All processes of this host are one peer."""
HANDSHAKE_MS: Final = 5_000
RECEIVE_BUFFER_BYTES: Final = 64 << 10
"""Of the kernel, for each connection. What is in it is still read after a connection was shut down."""
MOST_SUBSCRIPTIONS: Final = 64
MOST_TOPIC_BYTES: Final = 64
MOST_UNREAD_BYTES: Final = 2 << 20
"""What a connection may have sent without a whole message: libzmq holds a message of any number of parts."""
HEARTBEAT_BYTES_PER_S: Final = 64
"""What ZeroMQ's own heartbeats may take; no message is made of them."""

_LOOK_S: Final = 0.05
_TCP_INFO_BYTES: Final = 192
_BYTES_RECEIVED_AT: Final = 128  # in Linux's struct tcp_info
_ENVELOPE_BYTES: Final = 128  # of a message's part on its way: framing and encryption


@dataclass(slots=True)
class _Connection:
    """A connection that is open. read: bytes of whole messages that came over it. inode: of its socket."""

    peer: str
    since_s: float
    inode: int
    read: int = 0
    topics: set[bytes] = field(default_factory=set)
    key: bytes | None = None
    closed: bool = False  # shut down, and not yet reported gone by libzmq


class Connections:
    """The connections of one socket; used by the socket's thread. `look` must be called several times a second."""

    def __init__(self, socket: "zmq.Socket[bytes]", name: str, unread_bytes: int = MOST_UNREAD_BYTES) -> None:
        """Bound what libzmq does by itself: call it before the socket is bound. name: of the endpoint, in [wire]."""
        self._name, self._unread_bytes = name, unread_bytes
        self._open: dict[int, _Connection] = {}
        self._of_peer: Counter[str] = Counter()
        self._look_s = 0.0
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        socket.setsockopt(zmq.RCVBUF, RECEIVE_BUFFER_BYTES)

    def __len__(self) -> int:
        return len(self._open)

    def accepted(self, descriptor: int) -> None:
        """Count a new connection, and close it where there are too many."""
        self.gone(descriptor)
        peer = address_behind(descriptor)
        self._open[descriptor] = _Connection(peer, time.monotonic(), _inode(descriptor))
        self._of_peer[peer] += 1
        if len(self._open) > MOST_CONNECTIONS:
            self.close(descriptor, f"more than {MOST_CONNECTIONS} connections")
        elif peer != UNKNOWN and self._of_peer[peer] > MOST_OF_A_PEER:
            self.close(descriptor, f"more than {MOST_OF_A_PEER} connections of one peer")

    def gone(self, descriptor: int) -> bool:
        """Forget a connection; return whether it was closed here."""
        if (connection := self._open.pop(descriptor, None)) is None:
            return False
        self._of_peer[connection.peer] -= 1
        if not self._of_peer[connection.peer]:
            del self._of_peer[connection.peer]
        return connection.closed

    def received(self, message: zmq.Frame, size: int, parts: int = 1) -> int | None:
        """Credit a whole message of `size` bytes to the connection that it came over; return that one's descriptor."""
        try:
            descriptor = int(message.get(zmq.SRCFD))
        except zmq.ZMQError:  # of a connection within the process, or one that is gone
            return None
        if (connection := self._open.get(descriptor)) is not None:
            connection.read += size + parts * _ENVELOPE_BYTES
        return descriptor

    def subscribed(self, message: zmq.Frame) -> None:
        """Take what a publish socket received: a subscription, or the end of one. Anything else ends the connection."""
        data = message.bytes
        descriptor = self.received(message, len(data))
        if descriptor is None or (connection := self._open.get(descriptor)) is None:
            return
        with suppress(zmq.ZMQError):
            connection.key = str(message.get("User-Id")).encode()
        if data[:1] == b"\0":
            connection.topics.discard(data[1:])
        elif data[:1] != b"\1":
            self.close(descriptor, "it publishes to a socket that only sends")
        elif len(data) > 1 + MOST_TOPIC_BYTES:
            self.close(descriptor, f"a subscription of more than {MOST_TOPIC_BYTES} bytes")
        else:
            connection.topics.add(data[1:])
            if len(connection.topics) > MOST_SUBSCRIPTIONS:
                self.close(descriptor, f"more than {MOST_SUBSCRIPTIONS} subscriptions")

    def look(self, may_stay: Callable[[bytes], bool] | None = None) -> None:
        """Close connections with too much unread, and those of a key that may not stay, a few times a second."""
        now_s = time.monotonic()
        if now_s < self._look_s:
            return
        self._look_s = now_s + _LOOK_S
        stays: dict[bytes, bool] = {}
        for descriptor, connection in list(self._open.items()):
            if connection.closed:
                continue
            if may_stay is not None and (key := connection.key) is not None:
                if key not in stays:
                    stays[key] = may_stay(key)
                if not stays[key]:
                    self.close(descriptor, "its key is no longer allowed")
                    continue
            allowed = self._unread_bytes + HEARTBEAT_BYTES_PER_S * (now_s - connection.since_s)
            if self._bytes_received(descriptor) - connection.read > allowed:
                self.close(descriptor, f"more than {self._unread_bytes} bytes without a whole message")

    def close(self, descriptor: int, why: str) -> None:
        """Close a connection."""
        connection = self._open.get(descriptor)
        if connection is None or connection.closed:
            return
        connection.closed = True
        with suppress(OSError), self._still(descriptor) as peer:
            peer.shutdown(sockets.SHUT_RDWR)
        log.warning("connection_closed", socket=self._name, peer=connection.peer, why=why)

    def _bytes_received(self, descriptor: int) -> int:
        """Return how many bytes came over a TCP connection; 0 for others."""
        with suppress(OSError, struct.error), self._still(descriptor) as peer:
            if peer.family != sockets.AF_UNIX:
                about = peer.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, _TCP_INFO_BYTES)
                return int(struct.unpack_from("<Q", about, _BYTES_RECEIVED_AT)[0])
        return 0

    @contextmanager
    def _still(self, descriptor: int) -> Iterator[sockets.socket]:
        """Yield the socket of a connection. Raises OSError where its number has gone over to another one."""
        with socket_behind(descriptor) as peer:
            if os.fstat(peer.fileno()).st_ino != self._open[descriptor].inode:
                raise OSError(f"descriptor {descriptor} is another connection now")
            yield peer


def _inode(descriptor: int) -> int:
    try:
        return os.fstat(descriptor).st_ino
    except OSError:  # it is gone already
        return 0
