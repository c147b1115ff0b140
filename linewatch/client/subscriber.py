"""The messages of a service, each once and in order per topic, and a notice of every loss."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import zmq

from linewatch.client.connection import Connection, connect
from linewatch.client.keys import ClientKeys
from linewatch.client.requests import NoAnswerError
from linewatch.contracts.errors import WireError
from linewatch.wire.schema import (
    DECIDED_TOPICS,
    KEPT_TOPICS,
    MAX_PAYLOAD_BYTES,
    AnyMessage,
    FrameMessage,
    Snapshot,
    StatusMessage,
    Timed,
    Topic,
    decode,
)

_SILENCE_S = 3.0  # thirty heartbeats


@dataclass(frozen=True, slots=True)
class Position:
    """A consumer's position in a topic: it has every message before `(epoch, next)`."""

    epoch: int
    next: int


class Loss(StrEnum):
    """Why messages are missing."""

    GONE = "gone"  # no longer in the journal
    NO_ANSWER = (
        "no answer"  # the service did not answer: a new subscription from the earlier position may still get them
    )
    NEW_JOURNAL = "new journal"  # the service started a new journal: equal names do not mean equal messages


@dataclass(frozen=True, slots=True)
class Lost:
    """Messages [first, end) of a topic and epoch that could not be fetched. end: None when their number is unknown."""

    topic: Topic
    epoch: int
    first: int
    end: int | None
    reason: str
    loss: Loss = Loss.GONE


class Subscriber(Connection):
    """Connects at once, and waits for a service that does not run yet. Used and closed by one thread.

    A gap is detected by `(epoch, sequence)`, at the latest with the next heartbeat, and filled from the service's
    journal before any newer message of that topic is returned; so are messages from before a restart of the service.
    `positions` resumes an earlier subscription in the `journal` that it was in, whose replacement is then noticed.
    Without it, `since` selects where a topic begins: with the next message ("live"), with the service's start ("epoch")
    or with the oldest message in the journal ("journal"). Pictures (`crop`), where subscribed, are returned as they
    come: they are not journaled, and their loss is not reported.
    """

    def __init__(
        self,
        publish: str,
        serve: str,
        topics: Iterable[Topic | str] = DECIDED_TOPICS,
        *,
        keys: ClientKeys | None = None,
        since: Literal["live", "epoch", "journal"] = "live",
        positions: Mapping[str, Position] | None = None,
        journal: str | None = None,
        answer_timeout_s: float = 5.0,
        receive_high_water: int = 10_000,
    ) -> None:
        """Raises WireError for an endpoint or a key that cannot be used, ValueError for an unknown topic."""
        self._topics = frozenset(Topic(topic) for topic in topics)
        self._since = since
        self._positions = {Topic(topic): position for topic, position in (positions or {}).items()}
        self.journal = journal
        """UUID of the service's journal, in which `positions` are; None: not known yet."""
        self._checked = journal is None  # that the service still has this journal
        self._publish = publish
        self._receive_high_water = receive_high_water
        self._ready: Iterator[AnyMessage | Lost] = iter(())
        self._heartbeat = (-1, -1)  # epoch and count that were seen last
        self._heartbeat_s: float | None = None
        self._heard_s = time.monotonic()
        self.rejected = 0
        """Number of invalid messages, which were ignored."""
        self.filled = 0
        """Number of messages that were fetched from the journal."""
        super().__init__(serve, "serve", answer_timeout_s, keys)
        try:
            self._socket = self._sub()
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[AnyMessage | Lost]:
        """Yield every message from now on, until the subscriber is closed."""
        while not self._context.closed:
            message = self.poll(1.0)
            if message is not None:
                yield message

    def poll(self, timeout_s: float) -> AnyMessage | Lost | None:
        """Return the next message, or None after `timeout_s`. Filling a gap may take up to `answer_timeout_s` longer.

        Raises WireError when the service speaks another schema version.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            for message in self._ready:
                return message
            left_s = max(0.0, deadline - time.monotonic())
            if self._socket.poll(int(1000 * min(left_s, _SILENCE_S))):
                self._heard_s = time.monotonic()
                self._ready = self._settle(self._socket.recv_multipart())
                continue
            if time.monotonic() - self._heard_s > _SILENCE_S:
                self._reconnect()
            if left_s == 0.0:
                return None

    @property
    def heartbeat_age_s(self) -> float:
        """Seconds since `poll` saw the heartbeat advance; infinite before the first. Old: nothing is inspected."""
        return float("inf") if self._heartbeat_s is None else time.monotonic() - self._heartbeat_s

    @property
    def positions(self) -> dict[str, Position]:
        """The positions after the messages that `poll` returned. Store them to resume with another subscriber."""
        return {topic.value: position for topic, position in self._positions.items()}

    def snapshot(self) -> Snapshot:
        """Return the service's state. Raises WireError when no answer comes."""
        return self._requester.snapshot()

    def begin_of_coil(self, topics: Iterable[Topic]) -> dict[str, Position]:
        """Return where the coil under way begins in each topic, or its newest part that is still in the journal.

        Without a coil under way: the end of each topic. Raises WireError when no answer comes.
        """
        now = self.snapshot()
        end = {topic.value: Position(now.epoch, now.sequences[topic.value]) for topic in topics}
        newest = self._message_at(Topic.FRAME, now.epoch, now.sequences[Topic.FRAME] - 1)
        if now.coil is None or not isinstance(newest, FrameMessage):
            return end
        epoch, ordinal = newest.passage
        return {topic.value: self._first_of(topic, epoch, ordinal, end[topic.value]) for topic in topics}

    def _first_of(self, topic: Topic, epoch: int, ordinal: int | None, end: Position) -> Position:
        """Return the position of the first message of a topic that is about a passage, or about a later one."""
        reply, _ = self._requester.replay(topic, epoch, 0, 1)
        if reply.oldest is None or reply.next is None:
            return end
        low, high = reply.oldest, reply.next
        while low < high:
            at = (low + high) // 2
            message = self._message_at(topic, epoch, at)
            if isinstance(message, Timed) and (message.passage[0], message.coil_ordinal) == (epoch, ordinal):
                high = at
            else:
                low = at + 1
        return Position(epoch, low)

    def _message_at(self, topic: Topic, epoch: int, sequence: int) -> AnyMessage | None:
        if sequence < 0:
            return None
        _, messages = self._requester.replay(topic, epoch, sequence, sequence + 1)
        return messages[0] if messages else None

    def _settle(self, parts: list[bytes]) -> Iterator[AnyMessage | Lost]:
        message = self._decode(parts)
        if message is None:
            return
        if isinstance(message, StatusMessage):
            self._take_heartbeat(message)
            yield from self._find_journal(message.journal_id, message.epoch)
            for topic in sorted(self._topics.intersection(KEPT_TOPICS)):
                if topic.value in message.sequences:
                    yield from self._catch_up(topic, message.epoch, message.sequences[topic.value])
            if Topic.STATUS in self._topics:
                yield message
            return
        if message.topic in KEPT_TOPICS:
            if not self._checked:
                with suppress(WireError):  # the next heartbeat tells as well
                    at = message.sequence
                    reply, _ = self._requester.replay(message.topic, message.epoch, at, at)
                    yield from self._find_journal(reply.journal_id, message.epoch)
            yield from self._catch_up(message.topic, message.epoch, message.sequence)
            self._positions[message.topic] = Position(message.epoch, message.sequence + 1)
        yield message

    def _decode(self, parts: list[bytes]) -> AnyMessage | None:
        try:
            if len(parts) != 3:
                raise WireError(f"a message of {len(parts)} parts; expected topic, header and payload")
            message = decode(parts[0], parts[1], parts[2])
        except WireError as error:
            if str(error).startswith("schema version"):
                raise
            self.rejected += 1
            return None
        return message

    def _find_journal(self, journal: str | None, epoch: int) -> Iterator[Lost]:
        """Take note of the service's journal; where it is another one, yield the loss of every topic."""
        if journal is None:
            return
        self._checked = True
        before, self.journal = self.journal, journal
        if before not in (None, journal):
            for topic in sorted(self._positions):
                yield self._new_journal(topic, epoch)

    def _new_journal(self, topic: Topic, epoch: int) -> Lost:
        here, self._positions[topic] = self._positions[topic], Position(epoch, 0)
        return Lost(topic, here.epoch, here.next, None, "the service began a new journal", Loss.NEW_JOURNAL)

    def _take_heartbeat(self, status: StatusMessage) -> None:
        heartbeat = status.epoch, status.heartbeat
        if heartbeat != self._heartbeat:
            self._heartbeat = heartbeat
            self._heartbeat_s = time.monotonic()

    def _catch_up(self, topic: Topic, epoch: int, end: int) -> Iterator[AnyMessage | Lost]:
        """Yield the messages between this position and `(epoch, end)`, the service's newest position."""
        begins = {"live": Position(epoch, end), "epoch": Position(epoch, 0), "journal": _BEFORE_ALL}
        here = self._positions.setdefault(topic, begins[self._since])
        if (here.epoch, here.next) > (epoch, end):
            # Sequences never go back, so this is another journal.
            self.journal = None
            yield self._new_journal(topic, epoch)
        while (here := self._positions[topic]) != Position(epoch, end):
            upto = end if here.epoch == epoch else None
            try:
                reply, messages = self._requester.replay(topic, here.epoch, here.next, upto)
                if self.journal is not None and reply.journal_id not in (None, self.journal):
                    yield from self._find_journal(reply.journal_id, epoch)
                    continue
            except WireError as error:
                loss = Loss.NO_ANSWER if isinstance(error, NoAnswerError) else Loss.GONE
                yield self._give_up(topic, Position(epoch, end), str(error), loss)
                return
            for message in messages:
                yield from self._skip(topic, message.sequence)
                self._positions[topic] = Position(message.epoch, message.sequence + 1)
                self.filled += 1
                yield message
            if reply.more and messages:
                continue
            if here.epoch == epoch:
                yield from self._skip(topic, end)
            else:
                if reply.next is not None:
                    yield from self._skip(topic, reply.next)
                following = min(reply.next_epoch or epoch, epoch)
                self._positions[topic] = Position(following, 0)
                if reply.next is None and _BEFORE_ALL.epoch < here.epoch < reply.oldest_epoch:
                    yield Lost(topic, here.epoch, here.next, None, _GONE)

    def _skip(self, topic: Topic, end: int) -> Iterator[Lost]:
        """Yield a loss when messages before `end` are missing."""
        here = self._positions[topic]
        if here.next < end:
            self._positions[topic] = Position(here.epoch, end)
            yield Lost(topic, here.epoch, here.next, end, _GONE)

    def _give_up(self, topic: Topic, there: Position, reason: str, loss: Loss) -> Lost:
        here = self._positions[topic]
        self._positions[topic] = there
        return Lost(topic, here.epoch, here.next, there.next if here.epoch == there.epoch else None, reason, loss)

    def _reconnect(self) -> None:
        """Replace the socket: libzmq does not retry after a failed handshake, even when the service comes back."""
        self._socket.close(0)
        self._socket = self._sub()
        self._heard_s = time.monotonic()

    def _sub(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.SUB)
        socket.rcvhwm = self._receive_high_water
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_PAYLOAD_BYTES)
        connect(socket, self._publish, "publish", self._credentials)
        for topic in self._topics | {Topic.STATUS}:
            socket.subscribe(topic.value)
        return socket


_GONE = "no longer in the journal"
_BEFORE_ALL = Position(0, 0)  # the first start of a service is epoch 1
