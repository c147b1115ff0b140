"""A message as it is journaled, published and replayed: bytes that never change."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Record:
    """One message, made by the wire's `Sequencer`. `(epoch, topic, sequence)` is its permanent name.

    header: canonical JSON. payload: the topic's binary part, or empty.
    """

    epoch: int  # one start of the daemon
    topic: str
    sequence: int  # per topic, from 0 in every epoch, without gaps
    header: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class RecordSpan:
    """The sequences [oldest, next) of one topic and epoch that are still kept."""

    oldest: int
    next: int
