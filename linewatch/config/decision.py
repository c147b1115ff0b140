"""`[decision]` and `[[alarm]]`: what counts as one defect, and which defects ask for an operator."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from linewatch.config.base import Settings


class SensitivityRule(Settings):
    """`[[decision.sensitivity]]`: what a defect must reach to be reported, where the usual thresholds do not suit.

    The first rule that fits a defect's class, place and product decides alone. A defect is in a zone when all of it
    is; in an edge zone only where an edge was seen.
    """

    classes: Annotated[tuple[str, ...], Field(strict=False)] = Field(default=(), description="empty: every class")
    product: str | None = Field(default=None, min_length=1, max_length=64, description="none: every product")
    edge_zone_mm: float | None = Field(default=None, gt=0, le=1_500, description="along either strip edge")
    across_mm: Annotated[tuple[float, float], Field(strict=False)] | None = Field(
        default=None, description="from and to, counted from the mill's datum"
    )
    min_confidence: float | None = Field(default=None, gt=0, le=1, description="in place of the engine's threshold")
    min_area_mm2: float | None = Field(default=None, ge=0, le=1e9, description="in place of [decision] min_area_mm2")

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        if self.min_confidence is None and self.min_area_mm2 is None:
            raise ValueError("a sensitivity without min_confidence or min_area_mm2 changes nothing; give one of them")
        if self.across_mm is not None and self.across_mm[0] >= self.across_mm[1]:
            raise ValueError(f"across_mm {list(self.across_mm)} is empty, expected [from, to], ascending")
        return self


class DecisionSettings(Settings):
    """How predictions become defect instances."""

    defect_threshold: float | None = Field(default=None, ge=0, le=1, description="overrides the segmenter's manifest")
    min_area_mm2: float = Field(default=4.0, ge=0, description="smaller components are noise")
    merge_gap_mm: float = Field(default=2.0, ge=0, le=100, description="components nearer than this are one defect")
    part_m: float = Field(
        default=100.0, ge=1, le=10_000, description="a defect that is longer is closed in parts, each of which names it"
    )
    product: str | None = Field(
        default=None, min_length=1, max_length=64, description="on the line; chooses among the sensitivity rules"
    )
    sensitivity: Annotated[tuple[SensitivityRule, ...], Field(strict=False)] = ()
    grading: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="grading rules of the product and customer; none: coils are not graded"
    )


class AlarmRule(Settings):
    """Raised while a coil holds `min_count` defects of `classes`, each at least so big, within `within_m` metres."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    classes: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(), description="empty: every class that may alarm"
    )
    min_area_mm2: float = Field(default=0.0, ge=0)
    min_length_mm: float = Field(default=0.0, ge=0, description="along the strip")
    min_confidence: float = Field(default=0.0, ge=0, le=1)
    min_count: int = Field(default=1, ge=1)
    within_m: float = Field(default=1.0, gt=0, description="the count's window; not used when min_count is 1")
    latch: bool = True
