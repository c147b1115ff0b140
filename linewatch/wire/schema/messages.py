"""Every published message: the union of the topics, and its decoder."""

from typing import Final

from linewatch.contracts.errors import WireError
from linewatch.wire.schema.alarm import AlarmMessage
from linewatch.wire.schema.base import MAX_HEADER_BYTES, Topic, holds_nul, parse
from linewatch.wire.schema.coil import CoilMessage
from linewatch.wire.schema.crop import CropMessage
from linewatch.wire.schema.defect import DefectMessage, decode_runs
from linewatch.wire.schema.frame import FrameMessage
from linewatch.wire.schema.roll_mark import RollMarkMessage
from linewatch.wire.schema.status import StatusMessage

AnyMessage = FrameMessage | DefectMessage | AlarmMessage | CoilMessage | RollMarkMessage | StatusMessage | CropMessage
_MODELS: dict[str, type[AnyMessage]] = {
    Topic.FRAME: FrameMessage,
    Topic.DEFECT: DefectMessage,
    Topic.ALARM: AlarmMessage,
    Topic.COIL: CoilMessage,
    Topic.ROLL_MARK: RollMarkMessage,
    Topic.STATUS: StatusMessage,
    Topic.CROP: CropMessage,
}
_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


def decode(topic: bytes, header: bytes, payload: bytes) -> AnyMessage:
    """Decode a message from its three parts. Raises WireError for an invalid message or another schema version."""
    model = _MODELS.get(topic.decode("ascii", "replace"))
    if model is None:
        raise WireError(f"a message on topic {topic[:32]!r}; expected one of {', '.join(Topic)}")
    if len(header) > MAX_HEADER_BYTES:
        raise WireError(f"a header of {len(header)} bytes; at most {MAX_HEADER_BYTES} are read")
    if b"\\u0000" in header:
        raise WireError("a header with a NUL character; no text of linewatch has one, and PostgreSQL stores none")
    message = parse(model, header)
    if holds_nul(header):
        raise WireError(f"a {message.topic} message with a NUL character in a text")
    if isinstance(message, DefectMessage):
        runs = decode_runs(payload)
        if len(runs) != (message.mask.runs if message.mask else 0):
            raise WireError(f"defect {message.id} came with {len(runs)} runs; its header says {message.mask}")
        message._runs = runs
    elif isinstance(message, CropMessage):
        if len(payload) != message.png_bytes or not payload.startswith(_PNG_SIGNATURE):
            raise WireError(f"a crop whose payload is no PNG of {message.png_bytes} bytes, as its header says")
        message._png = payload
    elif payload:
        raise WireError(f"a {message.topic} message with a payload of {len(payload)} bytes; expected none")
    return message
