"""Answers libzmq whether a CURVE key may connect (ZeroMQ RFC 27, ZAP)."""

from pathlib import Path
from types import TracebackType
from typing import Self

import zmq
import zmq.auth
from zmq.utils import z85

from linewatch.wire.endpoints import ZAP_DOMAIN

_ADDRESS = "inproc://zeromq.zap.01"


class Doorkeeper:
    """Serves every armed socket of one context; opened, answered and closed by one thread.

    A client is known while its public certificate (`*.key`) lies in `clients_dir`: files that come and go count from
    the next handshake on.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], clients_dir: Path) -> None:
        self._context = context
        self._clients_dir = clients_dir

    def __enter__(self) -> Self:
        self.socket = self._context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind(_ADDRESS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def answer(self) -> None:
        """Answer one handshake that waits. libzmq is the only one who can ask: the address is within the process."""
        version, request_id, domain, _, _, mechanism, *credentials = self.socket.recv_multipart()
        known = domain == ZAP_DOMAIN and mechanism == b"CURVE" and self._is_known(z85.encode(credentials[0]))
        status = (b"200", b"OK") if known else (b"400", b"this key is not known")
        self.socket.send_multipart([version, request_id, *status, b"", b""])

    def _is_known(self, key: bytes) -> bool:
        return any(_public_key(path) == key for path in self._clients_dir.glob("*.key"))


def _public_key(path: Path) -> bytes | None:
    """A file that is no certificate lets nobody in and keeps nobody else out."""
    try:
        return zmq.auth.load_certificate(path)[0]
    except (OSError, ValueError):
        return None
