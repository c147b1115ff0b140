"""Topic `coil`, with a coil's data and grade."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from linewatch.contracts.verdict import CoilState
from linewatch.wire.schema.base import CoilId, Count, IntervalMm, Message, Score, Timed, Topic, Words


class CoilDataBody(Message):
    """What the mill (Level 2) knows of one coil, by a file, by a command, in a message. Null: not told."""

    coil: CoilId
    steel_grade: Words | None = None
    product: Words | None = None
    customer: Words | None = None
    thickness_mm: Annotated[float, Field(ge=0.01, le=100)] | None = None
    width_mm: Annotated[float, Field(ge=10, le=3_000)] | None = None
    length_mm: Annotated[float, Field(ge=100, le=5e7)] | None = Field(
        default=None, description="of the strip that will pass; then the tail is known before it comes"
    )
    head_crop_mm: Annotated[float, Field(ge=0, le=1e6)] | None = Field(
        default=None, description="cut off before delivery: excluded, where the recipe does not exclude more"
    )
    tail_crop_mm: Annotated[float, Field(ge=0, le=2e5)] | None = None

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        if not self.model_dump(exclude_none=True, exclude={"coil"}):
            raise ValueError(f"nothing is told of coil {self.coil}; give at least one of its data")
        crops_mm = (self.head_crop_mm or 0.0) + (self.tail_crop_mm or 0.0)
        if self.length_mm is not None and crops_mm >= self.length_mm:
            raise ValueError(
                f"head_crop_mm and tail_crop_mm are {crops_mm:g} together, the coil's length_mm is {self.length_mm:g}: "
                "nothing would be left of it"
            )
        return self


class GradeReasonBody(Message):
    """A limit of the grading rules that a coil exceeds."""

    rule: str
    grade: str = Field(description="that the rule gives")
    text: str
    defect_ids: tuple[str, ...] = Field(description="the worst of the defects that it is about, at most 8")


class GradeBody(Message):
    """What a coil is worth by one file of rules. Strip that was not inspected may hold anything."""

    grade: str = Field(description="`ungraded`: next to nothing was inspected")
    text: str
    rules: str = Field(description="name@digest of the rules' content")
    product: str
    customer: str
    graded_mm: IntervalMm = Field(description="the coil without its excluded ends")
    inspected_share: Score = Field(description="of the graded length, rounded down")
    defects_by_severity: dict[str, Count] = Field(description="of the graded length; pseudo-defects have none")
    reasons: tuple[GradeReasonBody, ...] = Field(description="worst grade first")


class CoilBody(Message):
    """A coil begins or has ended. inspected_mm + degraded_mm + missed_mm is the length that passed."""

    state: CoilState
    coil: str
    side: str
    camera: str
    along_mm: float
    inspected_mm: float
    degraded_mm: float
    missed_mm: float
    missed_lines_by_cause: dict[str, Count]
    defects_by_class: dict[str, Count]
    defect_ids: tuple[str, ...] = Field(description="of the defect messages that follow, in their order")
    alarm_ids: tuple[str, ...] = Field(description="of the alarm messages that follow, in their order")
    grade: GradeBody | None = Field(default=None, description="at the end, where the service has grading rules")
    data: CoilDataBody | None = Field(default=None, description="of the coil, as far as known; null: it had none")
    recipe: str | None = Field(default=None, description="by which it is inspected; null: the default")
    head_excluded_mm: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="the excluded ends; a defect wholly within them neither grades nor alarms"
    )
    tail_excluded_mm: Annotated[float, Field(ge=0)] = 0.0
    between_coils: bool = Field(default=False, description="strip behind a coil that was ended by order: no alarms")
    notes: tuple[str, ...] = Field(default=(), description="what one should know, such as why it is the default")
    source_coil: str = Field(default="", description="what the source calls it, and where in that it begins")
    source_line: Count = 0


class CoilMessage(CoilBody, Timed):
    """Topic `coil`."""

    topic: Literal[Topic.COIL]
    config: str = Field(default="", description="identity of the settings that decide; empty: not told")
