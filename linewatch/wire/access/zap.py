"""Tells libzmq whether a CURVE key may connect (ZeroMQ RFC 27, ZAP)."""

from types import TracebackType
from typing import Self

import structlog
import zmq
from zmq.utils import z85

from linewatch.wire.access.allow_list import AllowList
from linewatch.wire.access.certificates import fingerprint
from linewatch.wire.access.server_keys import ZAP_DOMAIN

log = structlog.get_logger()

_ADDRESS = "inproc://zeromq.zap.01"


class ZapAuthenticator:
    """Authenticates connections to every secured socket of one context; used by one thread.

    Each message of an accepted connection has the client's public key, in Z85, as its `User-Id`.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], allowed: AllowList) -> None:
        self._context = context
        self._allowed = allowed

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
        """Answer one waiting handshake. Only libzmq can ask, because the address is inside the process."""
        version, request_id, domain, address, _, mechanism, *credentials = self.socket.recv_multipart()
        key = z85.encode(credentials[0]) if domain == ZAP_DOMAIN and mechanism == b"CURVE" else b""
        known = self._allowed.find(key) is not None
        status = (b"200", b"OK", key) if known else (b"400", b"this key is not allowed", b"")
        self.socket.send_multipart([version, request_id, *status, b""])
        if not known:
            peer = address.decode("ascii", "replace")
            log.warning("key_refused", fingerprint=fingerprint(key) if key else None, peer=peer)
