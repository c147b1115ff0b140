"""Keeps the service's messages in a bridge's store, as the follower receives them."""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Final

import structlog
from pydantic import Field

from linewatch.client import Lost, Position
from linewatch.plant.store import EventStore, StoreFullError
from linewatch.wire.schema import AnyMessage, Count, CropMessage, Message, StatusMessage, Topic

LOST: Final = "lost"
"""Stands in the store for a topic: messages that the bridge could not get, told in the order of the others."""

log = structlog.get_logger()


class LostBody(Message):
    """Messages of the service that are missing for good."""

    topic: str = Field(description="their topic on the wire")
    epoch: Count
    first: Count = Field(description="sequence of the first")
    end: Count | None = Field(description="sequence behind the last; null: not known")
    messages: Count | None = Field(description="how many are missing of these; null: not known")
    reason: str


class EventKeeper:
    """Keeps the messages of some topics, and a `LostBody` for each loss among them. A `Keeper` of the follower."""

    def __init__(self, store: EventStore, topics: Collection[Topic], stored: Callable[[], object]) -> None:
        """`stored` is called after each event, from the follower's thread."""
        self._store, self._topics, self._stored = store, frozenset(topics), stored
        self._failing = False

    @property
    def positions(self) -> Mapping[str, Position]:
        """Behind the kept messages, by topic."""
        return {topic: here for topic, here in self._store.positions.items() if topic in self._topics}

    @property
    def journal(self) -> str | None:
        """The service's journal in which the positions are."""
        return self._store.journal

    def keep(self, message: AnyMessage | Lost, positions: Mapping[str, Position], journal: str | None) -> bool:
        """Keep a message and the positions behind it; False where the disk does not take it."""
        own = {topic: here for topic, here in positions.items() if topic in self._topics}
        try:
            if isinstance(message, StatusMessage):
                self._store.follow(own, journal)
            elif message.topic in self._topics:
                self._append(message, own, journal)
        except StoreFullError as error:
            log.error("store_failed", why=str(error))
            self._failing = True
            return False
        if self._failing and not isinstance(message, StatusMessage):
            log.info("store_recovered")
            self._failing = False
        return True

    def _append(self, message: AnyMessage | Lost, positions: Mapping[str, Position], journal: str | None) -> None:
        if isinstance(message, Lost):
            missing = None if message.end is None else message.end - message.first
            body: Message = LostBody(
                topic=message.topic.value,
                epoch=message.epoch,
                first=message.first,
                end=message.end,
                messages=missing,
                reason=message.reason,
            )
            log.error(
                "messages_lost",
                topic=message.topic.value,
                epoch=message.epoch,
                first=message.first,
                end=message.end,
                reason=message.reason,
            )
            topic, sequence, at_unix_ns = LOST, message.first, None
        else:
            assert not isinstance(message, StatusMessage | CropMessage)
            body, topic, sequence = message, message.topic.value, message.sequence
            at_unix_ns = message.timing.captured_unix_ns or message.timing.published_unix_ns
        self._store.append(
            topic,
            message.epoch,
            sequence,
            (at_unix_ns or time.time_ns()) // 1_000_000,
            body.model_dump_json().encode(),
            positions,
            journal,
        )
        self._stored()
