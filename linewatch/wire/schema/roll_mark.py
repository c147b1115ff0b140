"""Topic `roll_mark`."""

from typing import Annotated, Literal

from pydantic import Field

from linewatch.contracts.verdict import RollMarkState
from linewatch.wire.schema.base import Count, IntervalMm, Message, Score, Timed, Topic


class RollSuspectBody(Message):
    """A configured roll that would leave marks at this pitch."""

    roll: str
    stand: str
    pitch_mm: IntervalMm = Field(
        description="range of the pitch of its marks, from its range of diameters and the tolerance of its slip"
    )
    diameter_mm: IntervalMm = Field(description="the diameter that the roll has if it made the marks")
    turns: Annotated[int, Field(ge=1)] = Field(description="turns of the roll from one mark to the next")
    share: Score = Field(description="share of the likelihood among all suspects")


class RollMarkBody(Message):
    """Defects that repeat at one cross position with a constant pitch: the whole row of marks as known so far."""

    state: RollMarkState
    id: str
    ordinal: Count | None = Field(description="number of the frame that caused this step; null at the end of the coil")
    coil: str
    side: str
    camera: str
    defect_class: str = Field(description="the most frequent class of its marks")
    pitch_mm: Annotated[float, Field(gt=0)]
    pitch_error_mm: Annotated[float, Field(ge=0)] = Field(description="standard error of the pitch")
    confidence: Score = Field(description="1 minus the number of such rows expected by chance on 100 km of such strip")
    marks: Count = Field(description="number of marks found")
    marks_due: Count = Field(
        description="number of marks expected from the first to the newest, including missing ones"
    )
    across_mm: IntervalMm
    along_mm: IntervalMm = Field(description="from the first mark to the newest")
    defect_ids: tuple[str, ...] = Field(description="ids of the newest marks, in order along the strip")
    suspects: tuple[RollSuspectBody, ...] = Field(description="most likely first; empty when no configured roll fits")


class RollMarkMessage(RollMarkBody, Timed):
    """Topic `roll_mark`."""

    topic: Literal[Topic.ROLL_MARK]
