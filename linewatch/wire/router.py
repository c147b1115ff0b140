"""A ROUTER socket that answers requests: one JSON object each, bounded, and always answered."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Generic, Self, TypeVar

import zmq
from pydantic import TypeAdapter, ValidationError

from linewatch.contracts.record import Record
from linewatch.wire.doorkeeper import Doorkeeper
from linewatch.wire.endpoints import ServerKeys, bind, keep_alive
from linewatch.wire.schema import SCHEMA_VERSION, ErrorCode, ErrorReply, Message, canonical, explain

MAX_REQUEST_BYTES = 4096
_REFUSED_BYTES = 64 << 10  # a longer request costs its sender the connection
_REPLIES_WAITING = 16  # for one consumer that asks and does not read; more are dropped
_BURST = 64  # requests answered before the caller gets its thread back

_ANSWERS_OWED = 256  # to requests that take a while; more are refused
_OWING_POLL_MS = 5

Answer = tuple[Message, Sequence[Record]]
Later = Callable[[], Answer | None]
"""Asked again and again, until it gives the answer."""
R = TypeVar("R")


class Router(Generic[R]):
    """Opened, polled and closed by one thread. Every request gets a reply, a bad one an error reply.

    A subclass says what a request is and how it is answered.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        keys: ServerKeys | None,
        *,
        setting: str,
        requests: TypeAdapter[R],
    ) -> None:
        """setting: of [wire], the one that names the endpoint."""
        self._context, self._keys = context, keys
        self._setting, self._requests = setting, requests
        self._owed: list[tuple[Sequence[bytes], Later]] = []
        self.endpoint = endpoint

    @abstractmethod
    def answer(self, request: R) -> Answer | Later:
        """The reply to a request that is well formed, and records that follow it; or where to ask for these."""

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
            self.endpoint = bind(self._socket, self.endpoint, self._setting)
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
        ready = dict(self._poller.poll(min(timeout_ms, _OWING_POLL_MS) if self._owed else timeout_ms))
        if self._doorkeeper and self._doorkeeper.socket in ready:
            self._doorkeeper.answer()
        answered = 0
        while self._socket in ready and answered < _BURST:
            try:
                peer, *parts = self._socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                break
            envelope = [peer, b""] if parts[:1] == [b""] and len(parts) > 1 else [peer]  # a REQ socket's delimiter
            answer = self._answer(parts[len(envelope) - 1 :])
            if callable(answer):
                self._owed.append((envelope, answer))
            else:
                self._reply(envelope, answer)
                answered += 1
        return answered + self._pay()

    def _pay(self) -> int:
        """Send the answers that have come since."""
        owed, self._owed = self._owed, []
        for envelope, later in owed:
            answer = later()
            if answer is None:
                self._owed.append((envelope, later))
            else:
                self._reply(envelope, answer)
        return len(owed) - len(self._owed)

    def _reply(self, envelope: Sequence[bytes], answer: Answer) -> None:
        header, records = answer
        parts = [*envelope, canonical(header.model_dump())]
        for record in records:
            parts += [record.topic.encode("ascii"), record.header, record.payload]
        with suppress(zmq.Again):  # from one who asks and does not read
            self._socket.send_multipart(parts, zmq.DONTWAIT)

    def _answer(self, parts: Sequence[bytes]) -> Answer | Later:
        if len(parts) != 1:
            return refusal(0, ErrorCode.BAD_REQUEST, f"a request of {len(parts)} parts; expected one JSON object")
        if len(parts[0]) > MAX_REQUEST_BYTES:
            return refusal(0, ErrorCode.TOO_LARGE, f"{len(parts[0])} bytes; at most {MAX_REQUEST_BYTES} are read")
        try:
            request = self._requests.validate_json(parts[0])
        except ValidationError as error:
            return refusal(0, ErrorCode.BAD_REQUEST, explain(error))
        if len(self._owed) >= _ANSWERS_OWED:
            return refusal(0, ErrorCode.UNAVAILABLE, f"{len(self._owed)} answers are owed already; try again")
        return self.answer(request)


def refusal(request_id: int, code: ErrorCode, text: str) -> Answer:
    """What is wrong with a request."""
    return ErrorReply(schema_version=SCHEMA_VERSION, reply="error", id=request_id, error=code, text=text), ()
