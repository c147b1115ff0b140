"""A connection to one service: its sockets, with keys where the service has them, and a requester."""

from types import TracebackType
from typing import Any, Self

import zmq

from linewatch.client.keys import ClientKeys, Credentials
from linewatch.client.requests import Requester
from linewatch.contracts.errors import WireError
from linewatch.wire.schema import Snapshot


class Connection:
    """Opened, used and closed by one thread."""

    def __init__(self, endpoint: str, setting: str, answer_timeout_s: float, keys: ClientKeys | None) -> None:
        """endpoint: takes requests, the service's [wire] `setting`. Raises WireError for an invalid endpoint or key."""
        self._credentials = Credentials(keys)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()

        def dealer() -> zmq.Socket[bytes]:
            return connect(self._context.socket(zmq.DEALER), endpoint, setting, self._credentials)

        try:
            self._requester = Requester(dealer, answer_timeout_s, self._credentials.hint)
        except BaseException:
            self._context.destroy(0)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect."""
        self._requester.close()
        self._context.destroy(0)

    def report_bridge(self, **fields: Any) -> None:
        """Report the health of a bridge to a [wire] serve, by the fields of `BridgeReport`.

        Raises RefusedError, or NoAnswerError where no answer comes.
        """
        self._requester.report_bridge(**fields)


def connect(socket: zmq.Socket[bytes], endpoint: str, setting: str, credentials: Credentials) -> zmq.Socket[bytes]:
    """Connect a new socket and return it. Raises WireError for an invalid endpoint; it names the service's `setting`.

    A lost connection is noticed, and made again within a second.
    """
    socket.linger = 0
    socket.setsockopt(zmq.RECONNECT_IVL, 50)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 10)
    credentials.secure(socket)
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        socket.close(0)
        raise WireError(
            f"cannot connect to {endpoint!r}: {error.strerror}; expected tcp://HOST:PORT or ipc://PATH as "
            f"[wire] {setting} of the service has it"
        ) from error
    return socket


def ask_snapshot(endpoint: str, timeout_s: float = 5.0, *, keys: ClientKeys | None = None) -> Snapshot:
    """Return the state of the service whose [wire] serve is `endpoint`. Raises WireError when no answer comes."""
    with Connection(endpoint, "serve", timeout_s, keys) as connection:
        return connection._requester.snapshot()
