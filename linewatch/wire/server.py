"""The ROUTER socket: serves what a consumer missed, and how things stand."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self

import zmq
from pydantic import ValidationError

from linewatch.config.wire import WireSettings
from linewatch.contracts.errors import JournalError
from linewatch.contracts.ports import RecordStore
from linewatch.contracts.record import Record
from linewatch.wire.doorkeeper import Doorkeeper
from linewatch.wire.endpoints import ServerKeys, bind, keep_alive
from linewatch.wire.schema import (
    KEPT_TOPICS,
    REQUEST,
    SCHEMA_VERSION,
    ErrorCode,
    ErrorReply,
    Message,
    ReplayReply,
    ReplayRequest,
    Snapshot,
    SnapshotReply,
    canonical,
    explain,
)

MAX_REQUEST_BYTES = 4096
MAX_REPLY_BYTES = 256 << 10
_REFUSED_BYTES = 64 << 10  # a longer request costs its sender the connection
_REPLIES_WAITING = 16  # for one consumer that asks and does not read; more are dropped
_BURST = 64  # requests answered before the caller gets its thread back


class Server:
    """Opened, polled and closed by one thread. Every request gets a reply, a bad one an error reply."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        settings: WireSettings,
        keys: ServerKeys | None,
        store: RecordStore,
        snapshot: Callable[[], Snapshot],
    ) -> None:
        self._context = context
        self._settings = settings
        self._keys = keys
        self._store = store
        self._snapshot = snapshot
        self.endpoint = settings.serve

    def __enter__(self) -> Self:
        """Bind. Raises WireError when the endpoint is in use or cannot be bound."""
        with ExitStack() as stack:
            self._doorkeeper = None
            if self._keys:
                self._doorkeeper = stack.enter_context(Doorkeeper(self._context, self._keys.clients_dir))
            self._socket = stack.enter_context(self._context.socket(zmq.ROUTER))
            self._socket.linger = 0
            self._socket.sndhwm = _REPLIES_WAITING
            self._socket.setsockopt(zmq.MAXMSGSIZE, _REFUSED_BYTES)
            keep_alive(self._socket)
            if self._keys:
                self._keys.arm(self._socket)
            self.endpoint = bind(self._socket, self._settings.serve, "serve")
            self._poller = zmq.Poller()
            self._poller.register(self._socket, zmq.POLLIN)
            if self._doorkeeper:
                self._poller.register(self._doorkeeper.socket, zmq.POLLIN)
            self._opened = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def poll(self, timeout_ms: int) -> int:
        """Wait at most so long for requests, answer those that are there, and return how many they were."""
        ready = dict(self._poller.poll(timeout_ms))
        if self._doorkeeper and self._doorkeeper.socket in ready:
            self._doorkeeper.answer()
        answered = 0
        while self._socket in ready and answered < _BURST:
            try:
                peer, *parts = self._socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                break
            envelope = [peer, b""] if parts[:1] == [b""] and len(parts) > 1 else [peer]  # a REQ socket's delimiter
            self._reply(envelope, self._answer(parts[len(envelope) - 1 :]))
            answered += 1
        return answered

    def _reply(self, envelope: Sequence[bytes], answer: tuple[Message, Sequence[Record]]) -> None:
        header, records = answer
        parts = [*envelope, canonical(header.model_dump())]
        for record in records:
            parts += [record.topic.encode("ascii"), record.header, record.payload]
        with suppress(zmq.Again):  # from one who asks and does not read
            self._socket.send_multipart(parts, zmq.DONTWAIT)

    def _answer(self, parts: Sequence[bytes]) -> tuple[Message, Sequence[Record]]:
        if len(parts) != 1:
            return _error(0, ErrorCode.BAD_REQUEST, f"a request of {len(parts)} parts; expected one JSON object"), ()
        if len(parts[0]) > MAX_REQUEST_BYTES:
            return _error(0, ErrorCode.TOO_LARGE, f"{len(parts[0])} bytes; at most {MAX_REQUEST_BYTES} are read"), ()
        try:
            request = REQUEST.validate_json(parts[0])
        except ValidationError as error:
            return _error(0, ErrorCode.BAD_REQUEST, explain(error)), ()
        try:
            if isinstance(request, ReplayRequest):
                return self._replay(request)
            return SnapshotReply(
                schema_version=SCHEMA_VERSION, reply="snapshot", id=request.id, snapshot=self._snapshot()
            ), ()
        except (JournalError, OSError) as error:
            return _error(request.id, ErrorCode.UNAVAILABLE, str(error)), ()

    def _replay(self, request: ReplayRequest) -> tuple[Message, Sequence[Record]]:
        if request.topic not in KEPT_TOPICS:
            return _error(request.id, ErrorCode.NOT_KEPT, f"{request.topic} is published once and not kept"), ()
        epochs = self._store.epochs()
        span = self._store.span(request.epoch, request.topic)
        end = span.next if span else 0
        if request.to_sequence is not None:
            end = min(end, request.to_sequence)
        records: list[Record] = []
        if request.from_sequence < end:
            kept = self._store.read(request.epoch, request.topic, request.from_sequence, MAX_REPLY_BYTES)
            records = [record for record in kept if record.sequence < end]
        return ReplayReply(
            schema_version=SCHEMA_VERSION,
            reply="replay",
            id=request.id,
            topic=request.topic,
            epoch=request.epoch,
            records=len(records),
            more=bool(records) and records[-1].sequence + 1 < end,
            oldest=span.oldest if span else None,
            next=span.next if span else None,
            next_epoch=min((epoch for epoch in epochs if epoch > request.epoch), default=None),
            oldest_epoch=epochs[0],
        ), records


def _error(request_id: int, code: ErrorCode, text: str) -> ErrorReply:
    return ErrorReply(schema_version=SCHEMA_VERSION, reply="error", id=request_id, error=code, text=text)
