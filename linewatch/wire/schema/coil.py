"""Topic `coil`, with the data and the grade of a coil."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from linewatch.contracts.coil import CoilName
from linewatch.contracts.verdict import CoilState
from linewatch.wire.schema.base import (
    Count,
    CoveredArea,
    IntervalMm,
    Message,
    Mm,
    Score,
    ShortText,
    Timed,
    Topic,
)


class CoilDataBody(Message):
    """The data of one coil from the mill (Level 2). Null: not known."""

    coil: CoilName
    steel_grade: ShortText | None = None
    product: ShortText | None = None
    customer: ShortText | None = None
    thickness_mm: Annotated[float, Field(ge=0.01, le=100)] | None = None
    width_mm: Annotated[float, Field(ge=10, le=3_000)] | None = None
    length_mm: Annotated[float, Field(ge=100, le=5e7)] | None = Field(
        default=None, description="length of the strip that will pass; known in advance, it tells where the tail begins"
    )
    head_crop_mm: Annotated[float, Field(ge=0, le=1e6)] | None = Field(
        default=None, description="length cut off the head before delivery; excluded unless the recipe excludes more"
    )
    tail_crop_mm: Annotated[float, Field(ge=0, le=2e5)] | None = Field(
        default=None, description="length cut off the tail before delivery; excluded unless the recipe excludes more"
    )

    @model_validator(mode="after")
    def _has_possible_values(self) -> Self:
        if not self.model_dump(exclude_none=True, exclude={"coil"}):
            raise ValueError(f"there are no data of coil {self.coil}; give at least one value")
        crops_mm = (self.head_crop_mm or 0.0) + (self.tail_crop_mm or 0.0)
        if self.length_mm is not None and crops_mm >= self.length_mm:
            raise ValueError(
                f"head_crop_mm and tail_crop_mm add up to {crops_mm:g}, the coil's length_mm is {self.length_mm:g}: "
                "nothing would be left of it"
            )
        return self


class GradeReasonBody(Message):
    """A limit of the grading rules that the coil exceeds."""

    rule: str
    grade: str = Field(description="the grade that the rule gives")
    text: str
    defect_ids: tuple[str, ...] = Field(description="ids of the worst defects concerned, at most 8")


class GradeBody(Message):
    """The grade of a coil by one file of rules. It does not cover strip that was not inspected."""

    grade: str = Field(
        description="the grade; `ungraded`: too little was inspected, and the defects alone do not give the worst grade"
    )
    text: str
    rules: str = Field(description="name@digest of the rules file")
    product: str
    customer: str
    graded_mm: IntervalMm = Field(description="the graded part: the coil without its excluded ends")
    inspected_share: Score = Field(description="inspected share of the area of the graded length, rounded down")
    defects_by_severity: dict[str, Count] = Field(
        description="number of defects in the graded length by severity, without pseudo-defects"
    )
    reasons: tuple[GradeReasonBody, ...] = Field(description="worst grade first")


class CoilBody(CoveredArea):
    """A coil has started or ended. inspected_mm + degraded_mm + missed_mm is the length that has passed, by lines."""

    state: CoilState
    coil: CoilName
    side: str
    camera: str
    along_mm: Mm
    inspected_mm: Mm
    degraded_mm: Mm
    missed_mm: Mm
    uninspected_mm2_by_cause: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={}, description="the degraded and missed area by cause"
    )
    missed_lines_by_cause: dict[str, Count]
    defects_by_class: dict[str, Count]
    defect_ids: tuple[str, ...] = Field(description="ids of the defect messages that follow, in their order")
    alarm_ids: tuple[str, ...] = Field(description="ids of the alarm messages that follow, in their order")
    grade: GradeBody | None = Field(
        default=None, description="when the coil has ended and the service has grading rules"
    )
    data: CoilDataBody | None = Field(default=None, description="the coil's data as far as known; null: none")
    recipe: str | None = Field(default=None, description="the recipe that applies; null: the default settings")
    head_excluded_mm: Annotated[float, Field(ge=0)] = Field(
        default=0.0,
        description="excluded length at the head; a defect wholly inside it affects neither grade nor alarms",
    )
    tail_excluded_mm: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="excluded length at the tail, likewise"
    )
    between_coils: bool = Field(
        default=False, description="strip after a coil that was ended by a command: it raises no alarms"
    )
    notes: tuple[str, ...] = Field(
        default=(), description="remarks for an operator, such as why the default settings apply"
    )
    source_coil: str = Field(default="", description="the source's own name of the coil")
    source_line: Count = Field(default=0, description="line of the source's coil at which this coil begins")


class CoilMessage(CoilBody, Timed):
    """Topic `coil`."""

    topic: Literal[Topic.COIL]
    config: str = Field(default="", description="identity of the settings that apply; empty: not known")
