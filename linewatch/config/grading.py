"""Grading rules: the severity of a defect, and the limits of a coil; one file per product and customer.

`[[severity]]` rules give each defect a severity from 1 (hardly visible) to 5 (never delivered). The first rule that
fits decides; a defect that none fits has the severity of its class in the taxonomy. A `[[limit]]` that is exceeded
gives the coil its grade; of several the worst counts. `linewatch.config.grading_file` reads and checks a file.
"""

from typing import Annotated, Literal

from pydantic import Field

from linewatch.config.base import Settings, ShortText
from linewatch.config.taxonomy import Severity, Taxonomy

SEVERITIES = {Severity.MINOR: 2, Severity.MAJOR: 3, Severity.CRITICAL: 5}
"""The number of each severity of the taxonomy."""

UNKNOWN_SEVERITY = 3
"""The severity of a defect without a class, or with a class that the taxonomy lacks."""

UNGRADED = "ungraded"
"""Stands for the grade of a coil of which too little was inspected, and whose defects do not give the worst grade."""

WIDEST_STRIP_MM = 3_000.0
LONGEST_COIL_M = 50_000.0

RuleName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Grade = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_+-]{0,15}$")]
SeverityNumber = Annotated[int, Field(ge=1, le=5)]
WidthMm = Annotated[float, Field(ge=0, le=WIDEST_STRIP_MM)]
LengthMm = Annotated[float, Field(ge=0, le=LONGEST_COIL_M * 1000)]
AreaMm2 = Annotated[float, Field(ge=0, le=WIDEST_STRIP_MM * LONGEST_COIL_M * 1000)]
EdgeZone = Literal["inside", "touching", "outside"]


class Selection(Settings):
    """The defects that a rule counts: those that meet every condition. Both ends of a range belong to it."""

    name: RuleName = Field(description="unique; the reasons of a grade name the rule")
    classes: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(), description="empty: every class but pseudo-defects"
    )
    side: Literal["top", "bottom"] | None = Field(default=None, description="none: both sides")
    min_area_mm2: AreaMm2 = Field(default=0.0, description="area of the defect")
    max_area_mm2: AreaMm2 | None = Field(default=None, description="none: no bound")
    min_length_mm: LengthMm = Field(default=0.0, description="along the strip")
    max_length_mm: LengthMm | None = Field(default=None, description="none: no bound")
    min_width_mm: WidthMm = Field(default=0.0, description="across the strip")
    max_width_mm: WidthMm | None = Field(default=None, description="none: no bound")
    min_confidence: float = Field(default=0.0, ge=0, le=1, description="of the class of the defect")
    min_probability: float = Field(default=0.0, ge=0, le=1, description="that the defect is a true one")
    edge_zone_mm: float | None = Field(
        default=None,
        gt=0,
        le=WIDEST_STRIP_MM / 2,
        description="width of a zone along either strip edge; none: everywhere",
    )
    edge_zone: EdgeZone = Field(
        default="inside",
        description="all of the defect lies in the zone, a part of it, or nothing; without a visible edge none fits",
    )
    periodic: bool | None = Field(
        default=None, description="true: the defect belongs to a roll mark; false: it does not; none: either"
    )


class SeverityRule(Selection):
    """The severity of the defects that meet the conditions."""

    severity: SeverityNumber = Field(description="from 1, hardly visible, to 5, never delivered")


class LimitRule(Selection):
    """The grade of a coil that exceeds the limit. A limit has exactly one measure, taken over the graded length."""

    grade: Grade = Field(description="one of grades, not the best")
    min_severity: SeverityNumber = Field(default=1, description="defects below it do not count")
    more_than: int | None = Field(default=None, ge=0, description="measure: number of defects in the coil, or within_m")
    within_m: float | None = Field(
        default=None, gt=0, le=100, description="with more_than: the limit holds for every stretch of this length"
    )
    more_than_per_m: float | None = Field(
        default=None, ge=0, le=1e6, description="measure: mean number of defects per metre"
    )
    affected_over_mm: LengthMm | None = Field(
        default=None, description="measure: length that the defects cover together"
    )
    affected_over_share: float | None = Field(
        default=None, ge=0, lt=1, description="measure: the same, as a share of the graded length"
    )
    inspected_below_share: float | None = Field(
        default=None, gt=0, le=1, description="measure: smallest share of the strip that must be inspected"
    )


class GradingSettings(Settings):
    """A file of grading rules."""

    name: RuleName = Field(description="name of the rules in every grade")
    product: ShortText = Field(description="product that the rules are for")
    customer: ShortText = Field(default="any", description="customer that the rules are for")
    grades: Annotated[tuple[Grade, ...], Field(min_length=2, max_length=16, strict=False)] = Field(
        description="best first; a coil has the best grade unless it exceeds a limit"
    )
    head_excluded_m: float = Field(
        default=0.0, ge=0, le=1_000, description="head that is cut off before delivery and not graded"
    )
    tail_excluded_m: float = Field(default=0.0, ge=0, le=200, description="the same at the tail")
    min_inspected_share: float = Field(
        default=0.95,
        ge=0.0001,
        le=1,
        description="without a limit inspected_below_share: a coil of which less was inspected is `ungraded`, unless "
        "its defects alone give it the worst grade",
    )
    severity: Annotated[tuple[SeverityRule, ...], Field(strict=False)] = Field(
        default=(), description="the first rule that fits a defect decides"
    )
    limit: Annotated[tuple[LimitRule, ...], Field(min_length=1, strict=False)] = Field(description="one or more")


MEASURES = ("more_than", "more_than_per_m", "affected_over_mm", "affected_over_share", "inspected_below_share")
"""The measures; a limit has exactly one."""


def class_severities(taxonomy: Taxonomy) -> dict[str, int]:
    """Return the severity of every class but pseudo-defects, in the order of the taxonomy."""
    return {name: SEVERITIES[one.severity] for name, one in taxonomy.classes.items() if not one.pseudo}
