"""One message as it is journaled, published and served again: bytes that never change once written."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Record:
    """`(epoch, topic, sequence)` names it for ever. `header` is JSON, `payload` the topic's binary part, or empty."""

    epoch: int  # one start of the daemon
    topic: str
    sequence: int  # per topic, from 0 in every epoch, without gaps
    header: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class RecordSpan:
    """Which sequences of one topic in one epoch are still kept: [oldest, next). Empty when oldest == next."""

    oldest: int
    next: int
