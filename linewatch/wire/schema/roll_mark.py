"""Topic `roll_mark`."""

from typing import Annotated, Literal

from pydantic import Field

from linewatch.contracts.verdict import RollMarkState
from linewatch.wire.schema.base import Count, IntervalMm, Message, Score, Timed, Topic


class RollSuspectBody(Message):
    """A configured roll that would leave marks at such a pitch."""

    roll: str
    stand: str
    pitch_mm: IntervalMm = Field(description="of its marks, over its range of diameter and the error of its slip")
    diameter_mm: IntervalMm = Field(description="that it has if it is the one")
    turns: Annotated[int, Field(ge=1)] = Field(description="of the roll from mark to mark")
    share: Score = Field(description="of the likelihood among all suspects")


class RollMarkBody(Message):
    """Defects that come back at one cross position with a constant pitch; the whole row as known so far."""

    state: RollMarkState
    id: str
    ordinal: Count | None = Field(description="of the frame that brought this step; null at the end of the coil")
    coil: str
    side: str
    camera: str
    defect_class: str = Field(description="the most frequent of its marks")
    pitch_mm: Annotated[float, Field(gt=0)]
    pitch_error_mm: Annotated[float, Field(ge=0)] = Field(description="standard error")
    confidence: Score = Field(description="1 - the number of such rows that chance would give on 100 km of such strip")
    marks: Count = Field(description="seen")
    marks_due: Count = Field(description="from the first to the newest, the missed ones included")
    across_mm: IntervalMm
    along_mm: IntervalMm = Field(description="from its first mark to its newest")
    defect_ids: tuple[str, ...] = Field(description="of its newest marks, in order along")
    suspects: tuple[RollSuspectBody, ...] = Field(description="likeliest first; empty when no roll would do this")


class RollMarkMessage(RollMarkBody, Timed):
    """Topic `roll_mark`."""

    topic: Literal[Topic.ROLL_MARK]
