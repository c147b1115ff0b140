"""Requests to the service's ROUTER sockets, one at a time and with a time limit."""

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import zmq
from pydantic import ValidationError

from linewatch.contracts.alarm import AlarmAction
from linewatch.contracts.errors import WireError
from linewatch.wire.schema import (
    MAX_HEADER_BYTES,
    REPLY,
    SCHEMA_VERSION,
    AlarmReply,
    AlarmRequest,
    AnyMessage,
    BridgeReply,
    BridgeReport,
    CoilAction,
    CoilDataBody,
    CoilReply,
    CoilRequest,
    DisagreementsReply,
    DisagreementsRequest,
    EngineAction,
    EngineCommand,
    EngineReply,
    ErrorReply,
    Message,
    NewestPictureBody,
    NewestPictureReply,
    NewestPictureRequest,
    ReplayReply,
    ReplayRequest,
    Reply,
    RulesReply,
    RulesRequest,
    Snapshot,
    SnapshotReply,
    SnapshotRequest,
    Topic,
    canonical,
    decode,
    explain,
    parse_one_of,
)

R = TypeVar("R", bound=Message)
_JPEG_SIGNATURE = b"\xff\xd8\xff"


class NoAnswerError(WireError):
    """The service did not answer in time, or refused."""


class RefusedError(NoAnswerError):
    """The service answered, and refused."""


class Requester:
    """Opened, used and closed by one thread."""

    def __init__(self, connect: Callable[[], zmq.Socket[bytes]], timeout_s: float, hint: str) -> None:
        """connect: returns a DEALER socket connected to the service. hint: the likely reason when no answer comes."""
        self._hint = hint
        self._connect = connect
        self._timeout_s = timeout_s
        self._socket = connect()
        self._last_id = 0

    def close(self) -> None:
        """Close the socket; a pending request is dropped."""
        self._socket.close(0)

    def replay(self, topic: Topic, epoch: int, first: int, end: int | None) -> tuple[ReplayReply, list[AnyMessage]]:
        """Return one page of journaled messages in [first, end). Raises NoAnswerError, or WireError for a bad reply."""
        reply, parts = self._ask(
            ReplayRequest(
                schema_version=SCHEMA_VERSION,
                request="replay",
                id=self._next_id(),
                topic=topic,
                epoch=epoch,
                from_sequence=first,
                to_sequence=end,
            )
        )
        if not isinstance(reply, ReplayReply) or len(parts) != 3 * reply.records:
            raise WireError(f"a replay was answered by {type(reply).__name__} with {len(parts)} parts")
        messages = [decode(*parts[at : at + 3]) for at in range(0, len(parts), 3)]
        behind = first
        for message in messages:
            if message.topic != topic or message.epoch != epoch or message.sequence < behind:
                raise WireError(
                    f"a replay of {topic} in epoch {epoch} from {behind} held "
                    f"{message.topic} of epoch {message.epoch}, {message.sequence}"
                )
            behind = message.sequence + 1
        return reply, messages

    def snapshot(self) -> Snapshot:
        """Return the service's state. Raises NoAnswerError, or WireError for a bad reply."""
        request = SnapshotRequest(schema_version=SCHEMA_VERSION, request="snapshot", id=self._next_id())
        return self._answer(request, SnapshotReply).snapshot

    def picture(self) -> tuple[NewestPictureBody, bytes] | None:
        """Return the newest picture, a JPEG; None where there is none. Raises NoAnswerError, or WireError."""
        request = NewestPictureRequest(schema_version=SCHEMA_VERSION, request="picture", id=self._next_id())
        reply, parts = self._ask(request)
        if not isinstance(reply, NewestPictureReply) or len(parts) != (3 if reply.picture else 0):
            raise WireError(f"a request for a picture was answered by {type(reply).__name__} with {len(parts)} parts")
        if reply.picture is None:
            return None
        if len(parts[2]) != reply.picture.jpeg_bytes or not parts[2].startswith(_JPEG_SIGNATURE):
            raise WireError(f"a picture that is no JPEG of {reply.picture.jpeg_bytes} bytes, as its header says")
        return reply.picture, parts[2]

    def engine(self, action: EngineAction, name: str = "", *, shadow: bool = False, by: str = "") -> EngineReply:
        """Load an engine beside the running ones, promote or drop it, go back from it, or show the engines.

        The reply means that the command was accepted, not that it is done. Raises RefusedError, NoAnswerError, or
        WireError for an invalid command or a bad reply.
        """
        what = f"engine {action} {name!r}"
        command = self._command(EngineCommand, what, request="engine", action=action, name=name, shadow=shadow, by=by)
        return self._answer(command, EngineReply)

    def disagreements(self) -> tuple[DisagreementsReply, list[bytes]]:
        """Return where the engine on trial and the running one disagree, and a PNG of each. Raises as `engine` does."""
        request = DisagreementsRequest(
            schema_version=SCHEMA_VERSION, request="disagreements", id=self._next_id(), action="show"
        )
        reply, parts = self._ask(request)
        if not isinstance(reply, DisagreementsReply) or len(parts) != 3 * len(reply.disagreements):
            raise WireError(f"disagreements were answered by {type(reply).__name__} with {len(parts)} parts")
        return reply, parts[2::3]

    def alarm(
        self, action: AlarmAction, alarm: str | None, *, token: str, minutes: float | None, by: str, comment: str = ""
    ) -> AlarmReply:
        """Acknowledge, shelve or unshelve. The reply means that it is done and on disk. Raises as `engine` does."""
        what = f"{action} {'all' if alarm is None else repr(alarm[:64])}"
        asked = {"token": token, "action": action, "alarm": alarm, "minutes": minutes, "by": by, "comment": comment}
        return self._answer(self._command(AlarmRequest, what, request="alarm", **asked), AlarmReply)

    def coil(
        self,
        action: CoilAction,
        coil: str | None = None,
        *,
        token: str | None = None,
        at_mm: float | None = None,
        data: CoilDataBody | None = None,
        by: str = "",
    ) -> CoilReply:
        """Start or end a coil, supply its data, or show it. The reply means: on disk. Raises as `engine` does."""
        asked = {"token": token, "action": action, "coil": coil, "at_mm": at_mm, "data": data, "by": by}
        return self._answer(self._command(CoilRequest, f"coil {action}", request="coil", **asked), CoilReply)

    def reload_rules(self, by: str = "") -> RulesReply:
        """Have the rules read again. Raises RefusedError with the faults of the rules, or as `engine` does."""
        request = self._command(RulesRequest, "reload rules", request="rules", action="reload", by=by)
        return self._answer(request, RulesReply)

    def report_bridge(self, **fields: Any) -> None:
        """Report the health of a bridge, by the fields of `BridgeReport`. Raises as `engine` does."""
        report = self._command(BridgeReport, "report of a bridge", request="bridge", **fields)
        self._answer(report, BridgeReply)

    def _command(self, kind: type[R], what: str, **fields: Any) -> R:
        """Make a command. Raises WireError, which names it as `what`, when it is not valid."""
        try:
            return kind.model_validate({"schema_version": SCHEMA_VERSION, "id": self._next_id(), **fields})
        except ValidationError as error:
            raise WireError(f"{what} is no command: {explain(error)}") from error

    def _answer(self, request: Message, kind: type[R]) -> R:
        reply, _ = self._ask(request)
        if not isinstance(reply, kind):
            raise WireError(f"a {type(request).__name__} was answered by {type(reply).__name__}")
        return reply

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _ask(self, request: Message) -> tuple[Reply, list[bytes]]:
        for header, *parts in self._answers(canonical(request.model_dump())):
            if len(header) > MAX_HEADER_BYTES:
                raise WireError(f"a reply of {len(header)} bytes; at most {MAX_HEADER_BYTES} are read")
            reply = parse_one_of(REPLY, header)
            if reply.id not in (self._last_id, 0):
                continue  # the late reply to an earlier request
            if isinstance(reply, ErrorReply):
                raise RefusedError(f"the service refused: {reply.error}: {reply.text}")
            return reply, parts
        # Whatever waits in this socket, in either direction, belongs to the request that is given up.
        self._socket.close(0)
        self._socket = self._connect()
        raise NoAnswerError(f"no answer from the service within {self._timeout_s:g} s: {self._hint}")

    def _answers(self, request: bytes) -> Iterator[list[bytes]]:
        deadline = time.monotonic() + self._timeout_s
        if not self._socket.poll(int(self._timeout_s * 1000), zmq.POLLOUT):
            return
        self._socket.send(request)
        while (left_s := deadline - time.monotonic()) > 0:
            if self._socket.poll(max(1, int(left_s * 1000))):
                yield self._socket.recv_multipart()
