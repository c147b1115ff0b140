"""What one camera decided, ready to be joined and to be written to the log of what was heard."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from linewatch.contracts.frame import Cause
from linewatch.contracts.verdict import CoilNotice, CoverageSpan, Quality, Verdict
from linewatch.strip.in_order import CameraDecision, is_end, passage_of
from linewatch.wire.decode import event_from, notice_from, verdict_from
from linewatch.wire.schema import AnyMessage, CoilMessage, DefectMessage, FrameMessage, decode, encode_runs

_SIZES: Final = struct.Struct("<II")
_TOPIC_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class ToldDecision:
    """A camera's decision. passage: of its coil, as its service numbers it. ended: the passage is over with it.

    complete: False where defects that belong to it are lost. logged: its messages, for `read_messages`.
    """

    decision: Verdict | CoilNotice
    passage: tuple[int, int]
    ended: bool
    complete: bool
    logged: bytes

    @classmethod
    def of(cls, told: CameraDecision) -> "ToldDecision":
        """Make a decision of its messages. Raises whatever an odd message makes `wire.decode` raise."""
        messages = (told.head, *told.defects)
        return cls(_decision(told), passage_of(told.head), is_end(told.head), told.complete, _written(messages))


def read_messages(logged: bytes, *, complete: bool) -> CameraDecision:
    """Return the messages of a decision that was logged. Raises WireError."""
    messages: list[AnyMessage] = []
    at = 0
    while at < len(logged):
        header_bytes, runs_bytes = _SIZES.unpack_from(logged, at)
        topic_at = at + _SIZES.size
        header_at = topic_at + _TOPIC_BYTES
        runs_at = header_at + header_bytes
        at = runs_at + runs_bytes
        topic = logged[topic_at:header_at].rstrip()
        messages.append(decode(topic, logged[header_at:runs_at], logged[runs_at:at]))
    head, *defects = messages
    assert isinstance(head, FrameMessage | CoilMessage)
    return CameraDecision(head, tuple(one for one in defects if isinstance(one, DefectMessage)), complete)


def _written(messages: Sequence[FrameMessage | CoilMessage | DefectMessage]) -> bytes:
    parts: list[bytes] = []
    for message in messages:
        runs = encode_runs(message.runs) if isinstance(message, DefectMessage) else b""
        header = message.model_dump_json(exclude_defaults=True).encode()
        parts += [_SIZES.pack(len(header), len(runs)), message.topic.value.encode().ljust(_TOPIC_BYTES), header, runs]
    return b"".join(parts)


def _decision(told: CameraDecision) -> Verdict | CoilNotice:
    """Return a camera's decision. A frame of whose defects some are lost is not known to be without them: missed."""
    head = told.head
    events = tuple(event_from(one, one.runs) for one in told.defects)
    if not isinstance(head, FrameMessage):
        return notice_from(head, events, head.timing, head.config)
    verdict = verdict_from(head, events, head.timing)
    return verdict if told.complete else replace(verdict, spans=tuple(map(_missed, verdict.spans)))


def _missed(span: CoverageSpan) -> CoverageSpan:
    area = None if span.area is None else span.area.all_missed
    by_cause = ((Cause.UNTOLD, area.missed_mm2),) if area is not None and area.missed_mm2 else ()
    return replace(span, quality=Quality.MISSED, cause=Cause.UNTOLD, area=area, uninspected_mm2=by_cause)
