"""The hosts at the other end of the service's sockets, and those whose connection never gets through its handshake."""

import os
import socket as sockets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final, Protocol

import structlog
import zmq
from zmq.utils.monitor import parse_monitor_message

log = structlog.get_logger()

THIS_HOST: Final = "this host"
UNKNOWN: Final = "unknown"
"""Stands for the peer of a connection that was gone before its address could be read."""

_WATCHED = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_DISCONNECTED
)
_MOST_EVENTS = 256  # taken in one call of `look`
_QUEUED_EVENTS = 100_000  # libzmq's thread would wait for room behind them
_PROTOCOL_FAULTS: Final[Mapping[int, str]] = {
    zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC: "it encrypts for another server key",
    zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH: "only one side has keys",
}


def peer_of(frame: zmq.Frame) -> str:
    """Return the address of the host that sent a frame."""
    try:
        address = str(frame.get("Peer-Address"))
    except zmq.ZMQError:  # a connection within the process
        return THIS_HOST
    return THIS_HOST if address.startswith("localhost:") else address.removeprefix("::ffff:")


def user_of(frame: zmq.Frame) -> int | None:
    """Return the number of the user whose process sent a frame over ipc, by the kernel; None over anything else."""
    try:
        host, *ids = str(frame.get("Peer-Address")).split(":")
    except zmq.ZMQError:
        return None
    return int(ids[0]) if host == "localhost" and len(ids) == 3 and ids[0].isdecimal() else None


class ConnectionListener(Protocol):
    """Hears of a socket's connections, by their descriptors. `gone` returns whether the listener closed that one."""

    def accepted(self, descriptor: int) -> None: ...
    def gone(self, descriptor: int) -> bool: ...


class HandshakeWatch:
    """Logs connections to a ZeroMQ socket that are not ZeroMQ, or fail the handshake, by peer and reason.

    Keys that are not allowed are not among them: the authenticator logs those. Opened before the socket is bound, used
    and closed by the socket's thread; `look` must be called several times a second.

    libzmq names the file descriptor of a new connection, and for a handshake only its result. A descriptor whose
    connection is still open gives the peer's address; that of one that was closed at once is unknown.
    """

    def __init__(self, watched: "zmq.Socket[bytes]", name: str, listener: ConnectionListener | None = None) -> None:
        """name: the socket's endpoint in [wire], for the log. listener: hears of every connection."""
        self._watched, self._name, self._listener = watched, name, listener
        self._unfinished = f"not ZeroMQ, or a client {'without' if watched.curve_server else 'with'} keys"
        self._opening: dict[int, str] = {}  # peers by descriptor, of connections that may still be in their handshake
        self._succeeded = 0  # of these, how many succeeded; it is not known which
        self._refused = 0  # and how many the authenticator refused, whose clients have yet to disconnect
        self._why: str | None = None  # the fault of the connection that closes next
        address = f"inproc://linewatch.handshakes.{name}.{id(self)}"  # several of one context may have the same name
        watched.monitor(address, _WATCHED)
        self.socket = watched.context.socket(zmq.PAIR)
        self.socket.linger = 0
        self.socket.rcvhwm = _QUEUED_EVENTS
        self.socket.connect(address)

    def close(self) -> None:
        """Stop watching. Call it before the watched socket is closed."""
        for _ in range(_QUEUED_EVENTS // _MOST_EVENTS):  # no longer, though more may come all the while
            if not self.look():
                break
        self._watched.disable_monitor()
        self.socket.close()

    def look(self) -> bool:
        """Log what failed since the last call; never waits. Return whether there is more than one call takes."""
        taken = 0
        while taken < _MOST_EVENTS and self.socket.getsockopt(zmq.EVENTS) & zmq.POLLIN:
            self._take(*self._next())
            taken += 1
        return taken == _MOST_EVENTS

    def _next(self) -> tuple[int, int]:
        event = parse_monitor_message(self.socket.recv_multipart(zmq.DONTWAIT))
        return event["event"], event["value"]

    def _take(self, event: int, value: int) -> None:
        ours = self._tell_listener(event, value)
        if event == zmq.EVENT_ACCEPTED:
            self._opening[value] = address_behind(value)
            if self.socket.getsockopt(zmq.EVENTS) & zmq.POLLIN:
                # Libzmq reports the end of a connection before it closes the descriptor. With an event behind this one,
                # the descriptor may be another connection's already.
                self._opening[value] = UNKNOWN
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._succeeded += 1
        elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            self._refused += 1
        elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            self._why = _PROTOCOL_FAULTS.get(value, f"a broken ZeroMQ handshake, libzmq's code {value:#x}")
        elif event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            self._why = self._unfinished
        elif event == zmq.EVENT_DISCONNECTED and value in self._opening:
            peer, why, self._why = self._opening.pop(value), self._why, None
            if why is None and self._succeeded == 0:  # libzmq is silent about what is no handshake at all
                why = self._unfinished
            if why == self._unfinished and self._refused:
                self._refused -= 1
            elif why is not None and not ours:
                log.warning("handshake_failed", socket=self._name, peer=peer, why=why)
        if self._succeeded >= len(self._opening):  # all of them succeeded
            self._opening.clear()
            self._succeeded = self._refused = 0

    def _tell_listener(self, event: int, value: int) -> bool:
        """Return whether the event is the end of a connection that the listener closed, and so logged."""
        if self._listener is not None and event == zmq.EVENT_ACCEPTED:
            self._listener.accepted(value)
        return self._listener is not None and event == zmq.EVENT_DISCONNECTED and self._listener.gone(value)


@contextmanager
def socket_behind(descriptor: int) -> Iterator[sockets.socket]:
    """Yield a socket of our own of a connection of libzmq's.

    Raises OSError where it is none any more: libzmq may have closed it, and its number may stand for another file.
    """
    own = os.dup(descriptor)
    try:
        connection = sockets.socket(fileno=own)
    except OSError:
        os.close(own)  # or each look at a number that a file has taken over would cost a descriptor
        raise
    with connection:
        yield connection


def address_behind(descriptor: int) -> str:
    """Return the address of the host at the other end of a connection."""
    with suppress(OSError), socket_behind(descriptor) as connection:
        address = connection.getpeername()
        return str(address[0]).removeprefix("::ffff:") if isinstance(address, tuple) else THIS_HOST
    return UNKNOWN
