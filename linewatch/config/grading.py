"""Grading rules: how bad a defect is, and what a coil may have of it; one file per product and customer.

`[[severity]]` rules give each defect 1 (hardly seen) to 5 (never delivered): the first that fits decides, and a defect
that none fits has its class's severity in the taxonomy. A `[[limit]]` that is exceeded gives the coil its grade; of
several the worst counts. `linewatch.config.grading_load` reads and checks a file.
"""

from typing import Annotated, Literal

from pydantic import Field

from linewatch.config.base import Settings
from linewatch.config.taxonomy import Severity, Taxonomy

SEVERITIES = {Severity.MINOR: 2, Severity.MAJOR: 3, Severity.CRITICAL: 5}
"""What the taxonomy's words are in numbers."""

UNKNOWN_SEVERITY = 3
"""Of a defect whose class the taxonomy does not know, or that no engine named."""

UNGRADED = "ungraded"
"""Instead of a grade: next to no strip was looked at that could be graded."""

WIDEST_STRIP_MM = 3_000.0
LONGEST_COIL_M = 50_000.0

RuleName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Grade = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_+-]{0,15}$")]
Words = Annotated[str, Field(min_length=1, max_length=64)]
SeverityNumber = Annotated[int, Field(ge=1, le=5)]
WidthMm = Annotated[float, Field(ge=0, le=WIDEST_STRIP_MM)]
LengthMm = Annotated[float, Field(ge=0, le=LONGEST_COIL_M * 1000)]
AreaMm2 = Annotated[float, Field(ge=0, le=WIDEST_STRIP_MM * LONGEST_COIL_M * 1000)]
EdgeZone = Literal["inside", "touching", "outside"]


class Selection(Settings):
    """Which defects a rule is about; each condition narrows it, both ends of a range belong to it."""

    name: RuleName
    classes: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(), description="empty: every class that is no pseudo-defect"
    )
    side: Literal["top", "bottom"] | None = None
    min_area_mm2: AreaMm2 = 0.0
    max_area_mm2: AreaMm2 | None = None
    min_length_mm: LengthMm = Field(default=0.0, description="along the strip")
    max_length_mm: LengthMm | None = None
    min_width_mm: WidthMm = Field(default=0.0, description="across the strip")
    max_width_mm: WidthMm | None = None
    min_confidence: float = Field(default=0.0, ge=0, le=1)
    edge_zone_mm: float | None = Field(
        default=None, gt=0, le=WIDEST_STRIP_MM / 2, description="width of the zone along either strip edge"
    )
    edge_zone: EdgeZone = Field(
        default="inside",
        description="all of the defect lies in the zone, some of it, or none; where no edge was seen, nothing fits",
    )
    periodic: bool | None = Field(default=None, description="true: part of a roll mark; false: of none")


class SeverityRule(Selection):
    """`[[severity]]`."""

    severity: SeverityNumber


class LimitRule(Selection):
    """`[[limit]]`: the grade of a coil that exceeds it. Exactly one measure, over the graded length."""

    grade: Grade
    min_severity: SeverityNumber = 1
    more_than: int | None = Field(default=None, ge=0, description="defects: in the coil, or within `within_m`")
    within_m: float | None = Field(default=None, gt=0, le=100, description="in some stretch of this length")
    more_than_per_m: float | None = Field(default=None, ge=0, le=1e6, description="defects, as a mean")
    affected_over_mm: LengthMm | None = Field(default=None, description="length along that the defects cover together")
    affected_over_share: float | None = Field(default=None, ge=0, lt=1, description="the same, of the graded length")
    inspected_below_share: float | None = Field(default=None, gt=0, le=1, description="least coverage")


class GradingSettings(Settings):
    """A file of grading rules."""

    name: RuleName
    product: Words
    customer: Words = "any"
    grades: Annotated[tuple[Grade, ...], Field(min_length=2, max_length=16, strict=False)] = Field(
        description="best first; a coil has the first unless a limit is exceeded"
    )
    head_excluded_m: float = Field(default=0.0, ge=0, le=1_000, description="cut off before delivery: not graded")
    tail_excluded_m: float = Field(default=0.0, ge=0, le=200)
    severity: Annotated[tuple[SeverityRule, ...], Field(strict=False)] = ()
    limit: Annotated[tuple[LimitRule, ...], Field(min_length=1, strict=False)]


MEASURES = ("more_than", "more_than_per_m", "affected_over_mm", "affected_over_share", "inspected_below_share")
"""Of which a limit has one."""


def class_severities(taxonomy: Taxonomy) -> dict[str, int]:
    """Of the real classes, in the taxonomy's order."""
    return {name: SEVERITIES[one.severity] for name, one in taxonomy.classes.items() if not one.pseudo}
