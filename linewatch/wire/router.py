"""A ROUTER socket that answers requests. Each is one JSON object of bounded size, and each gets a reply."""

import os
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

import structlog
import zmq
from pydantic import TypeAdapter, ValidationError

from linewatch.contracts.access import Caller, Role
from linewatch.contracts.record import Record
from linewatch.wire.access.server_keys import ServerKeys
from linewatch.wire.access.zap import ZapAuthenticator
from linewatch.wire.connections import Connections
from linewatch.wire.endpoints import bind, keep_alive
from linewatch.wire.peers import HandshakeWatch, peer_of, user_of
from linewatch.wire.schema import (
    SCHEMA_MINOR,
    SCHEMA_VERSION,
    Command,
    ErrorCode,
    ErrorReply,
    Message,
    Request,
    canonical,
    explain,
)

log = structlog.get_logger()

MAX_REQUEST_BYTES = 4096
_MAX_FRAME_BYTES = 64 << 10  # libzmq closes the connection of a longer request
_REPLIES_WAITING = 16  # for a consumer that asks and does not read; further replies are dropped
_REQUESTS_WAITING = 16  # of one connection; TCP holds up those behind them
_BURST = 64  # requests answered in one call of `poll`
_RESPITE_MS = 10  # after a burst of errors: a flood of bad requests leaves the interpreter to the inspection
_MAX_PENDING = 256  # requests without an answer yet; more are refused
_PENDING_POLL_MS = 5

Answer = tuple[Message, Sequence[Record]]
PendingAnswer = Callable[[], Answer | None]
"""Called in each poll until it returns the answer."""
R = TypeVar("R", bound=Request | Command)


@dataclass(frozen=True, slots=True)
class _Asked(Generic[R]):
    """A message from a client. request: None when it was not a valid request."""

    envelope: Sequence[bytes]
    caller: Caller
    peer: str  # its host's address
    request: R | None = None


class Router(Generic[R]):
    """Opened, polled and closed by one thread. A bad request gets an error reply.

    A subclass defines the requests, the role that each needs and its answer. The caller is known by the connection's
    key, whose role is looked up for each request, so a revoked key is refused from then on. Without keys, callers over
    ipc are known by their user: the service's own and root, who decide what it does anyway, are engineers.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        keys: ServerKeys | None,
        *,
        setting: str,
        requests: TypeAdapter[R],
        authenticator: ZapAuthenticator | None = None,
        role_without_keys: Role = Role.OPERATOR,
    ) -> None:
        """setting: the endpoint's name in [wire]. authenticator: of the context, answered by this router's `poll`."""
        self._context, self._keys, self._authenticator = context, keys, authenticator
        self._setting, self._requests = setting, requests
        self._anybody, self._owner = Caller(None, role_without_keys), Caller(None, Role.ENGINEER)
        self._pending: list[tuple[_Asked[R], PendingAnswer]] = []
        self._flooded = False  # the last burst was mostly errors: the next poll leaves requests waiting
        self._battered = False  # so many connections failed that the next poll does not wait for more of them
        self.endpoint = endpoint

    @abstractmethod
    def answer(self, request: R, caller: Caller) -> Answer | PendingAnswer:
        """Return the reply to a valid and allowed request with the records that follow it, or a pending answer."""

    def least_role(self, request: R) -> Role:
        """Return the role that the request needs at least."""
        return Role.OBSERVER

    def answered(self, caller: Caller, peer: str, request: R | None, reply: Message) -> None:
        """Called before every reply is sent. request: None when it was not a valid request. Logs what was refused."""
        if isinstance(reply, ErrorReply):
            log.warning(
                "request_refused",
                socket=self._setting,
                peer=peer,
                key=caller.key,
                outcome=reply.error,
                why=reply.text,
            )

    def __enter__(self) -> Self:
        """Bind. Raises WireError when the endpoint is in use or cannot be bound."""
        with ExitStack() as stack:
            if self._authenticator:
                stack.enter_context(self._authenticator)
            self._socket = stack.enter_context(self._context.socket(zmq.ROUTER))
            self._socket.linger = 0
            self._socket.sndhwm = _REPLIES_WAITING
            self._socket.setsockopt(zmq.MAXMSGSIZE, _MAX_FRAME_BYTES)
            keep_alive(self._socket)
            if self._keys:
                self._keys.secure(self._socket)
            self._socket.rcvhwm = _REQUESTS_WAITING
            self._connections = Connections(self._socket, self._setting)
            self._handshakes = HandshakeWatch(self._socket, self._setting, self._connections)
            stack.callback(self._handshakes.close)
            self.endpoint = bind(self._socket, self.endpoint, self._setting)
            self._poller = zmq.Poller()
            self._poller.register(self._socket, zmq.POLLIN)
            self._poller.register(self._handshakes.socket, zmq.POLLIN)
            if self._authenticator:
                self._poller.register(self._authenticator.socket, zmq.POLLIN)
            self._opened = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._answer_pending()
        self._opened.close()

    def poll(self, timeout_ms: int) -> int:
        """Wait at most so long for requests, answer those that are there, and return how many were answered."""
        if self._flooded or self._battered:
            timeout_ms = min(timeout_ms, _RESPITE_MS)
        elif self._pending:
            timeout_ms = min(timeout_ms, _PENDING_POLL_MS)
        self._poller.modify(self._socket, zmq.POLLERR if self._flooded else zmq.POLLIN)  # POLLERR: never ready
        self._poller.modify(self._handshakes.socket, zmq.POLLERR if self._battered else zmq.POLLIN)
        ready = dict(self._poller.poll(timeout_ms))
        self._battered = self._handshakes.look()
        self._connections.look()
        if self._authenticator and self._authenticator.socket in ready:
            self._authenticator.answer()
        answered = errors = 0
        while self._socket in ready and answered < _BURST:
            try:
                frames = self._socket.recv_multipart(zmq.DONTWAIT, copy=False)
            except zmq.Again:
                break
            self._connections.received(frames[0], sum(map(len, frames)), len(frames))
            caller, from_host = self._caller(frames[0]), peer_of(frames[0])
            peer, *parts = [frame.bytes for frame in frames]
            envelope = [peer, b""] if parts[:1] == [b""] and len(parts) > 1 else [peer]  # a REQ socket's delimiter
            request, answer = self._answer(parts[len(envelope) - 1 :], caller)
            asked = _Asked(envelope, caller, from_host, request)
            if callable(answer):
                self._pending.append((asked, answer))
            else:
                self._reply(asked, answer)
                answered += 1
                errors += isinstance(answer[0], ErrorReply)
        self._flooded = errors > _BURST // 2
        return answered + self._answer_pending()

    def _answer_pending(self) -> int:
        """Send the answers that are ready by now."""
        pending, self._pending = self._pending, []
        for asked, ask_again in pending:
            answer = ask_again()
            if answer is None:
                self._pending.append((asked, ask_again))
            else:
                self._reply(asked, answer)
        return len(pending) - len(self._pending)

    def _caller(self, frame: zmq.Frame) -> Caller:
        if self._keys is None:
            return self._owner if user_of(frame) in (0, os.geteuid()) else self._anybody
        public = str(frame.get("User-Id"))  # set by the authenticator
        return self._keys.allowed.find(public.encode()) or Caller(public, None)

    def _reply(self, asked: _Asked[R], answer: Answer) -> None:
        header, records = answer
        self.answered(asked.caller, asked.peer, asked.request, header)
        parts = [*asked.envelope, canonical(header.model_dump() | {"schema_minor": SCHEMA_MINOR})]
        for record in records:
            parts += [record.topic.encode("ascii"), record.header, record.payload]
        with suppress(zmq.Again):  # the client does not read its replies
            self._socket.send_multipart(parts, zmq.DONTWAIT)

    def _answer(self, parts: Sequence[bytes], caller: Caller) -> tuple[R | None, Answer | PendingAnswer]:
        if caller.role is None:
            return None, refusal(0, ErrorCode.FORBIDDEN, "this key is no longer allowed")
        if malformed := _malformed(parts):
            return None, malformed
        try:
            request = self._requests.validate_json(parts[0])
        except ValidationError as error:
            return None, refusal(0, ErrorCode.BAD_REQUEST, explain(error))
        if not caller.may(least := self.least_role(request)):
            why = f"the request needs the role {least}; " + (
                f"key {caller.key!r} is {caller.role}"
                if caller.key
                else f"without keys, every caller is {caller.role}, but the service's own user and root over ipc://"
            )
            return request, refusal(request.id, ErrorCode.FORBIDDEN, why)
        if len(self._pending) >= _MAX_PENDING:
            why = f"{len(self._pending)} requests are pending already; try again"
            return request, refusal(request.id, ErrorCode.UNAVAILABLE, why)
        return request, self.answer(request, caller)


def _malformed(parts: Sequence[bytes]) -> Answer | None:
    if len(parts) != 1:
        return refusal(0, ErrorCode.BAD_REQUEST, f"a request of {len(parts)} parts; expected one JSON object")
    if len(parts[0]) > MAX_REQUEST_BYTES:
        return refusal(0, ErrorCode.TOO_LARGE, f"{len(parts[0])} bytes; at most {MAX_REQUEST_BYTES} are read")
    return None


def refusal(request_id: int, code: ErrorCode, text: str) -> Answer:
    """Make the reply that refuses a request."""
    return ErrorReply(schema_version=SCHEMA_VERSION, reply="error", id=request_id, error=code, text=text), ()
