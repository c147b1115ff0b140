"""Where an engine on trial and the running one disagree: the request, and the reply with pictures."""

from typing import Annotated, Literal

from pydantic import Field

from linewatch.wire.schema.base import Count, IntervalMm, Message, Score, ShortText, Version, Versioned, Whole

Ring = tuple[tuple[Count, Count], ...]
"""A closed outline: [column, line] of its corners, in pixels of the picture."""


class DisagreementsRequest(Message):
    """Asks for the newest tiles on which the engine on trial and the running one disagree."""

    schema_version: Version
    request: Literal["disagreements"]
    id: Count = Field(default=0, description="repeated in the reply")
    action: Literal["show"]


class EngineCallBody(Message):
    """What one engine says of a tile."""

    called: bool = Field(description="it calls the tile")
    scores: dict[str, Score] = Field(description="its highest scores: of classes, or `defect` for any class")
    rings: tuple[Ring, ...] = Field(description="outlines of what it sees; empty where its task draws none")


class DisagreementBody(Message):
    """One tile on which both engines disagree."""

    number: Count = Field(description="counts those of this trial")
    ordinal: Count = Field(description="number of the frame")
    captured_unix_ns: Whole
    coil: ShortText
    side: str
    camera: str
    across_mm: IntervalMm
    along_mm: IntervalMm
    lines: Count
    columns: Count
    running: EngineCallBody
    trial: EngineCallBody


class DisagreementsReply(Versioned):
    """The reply, followed by (topic, header, payload) for each disagreement; the payload is its picture, a gray PNG."""

    reply: Literal["disagreements"]
    id: Count
    running: Annotated[str, Field(description="name of the running engine; empty: no engine is compared")] = ""
    trial: Annotated[str, Field(description="name of the engine on trial")] = ""
    disagreements: tuple[DisagreementBody, ...] = Field(default=(), description="the newest first, at most 12")
