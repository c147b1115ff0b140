"""`[decision]` and `[[alarm]]`: what counts as one defect, and which defects ask for an operator."""

from typing import Annotated

from pydantic import Field

from linewatch.config.base import Settings


class DecisionSettings(Settings):
    """How predictions become defect instances."""

    defect_threshold: float | None = Field(default=None, ge=0, le=1, description="overrides the segmenter's manifest")
    min_area_mm2: float = Field(default=4.0, ge=0, description="smaller components are noise")
    merge_gap_mm: float = Field(default=2.0, ge=0, le=100, description="components nearer than this are one defect")
    part_m: float = Field(
        default=100.0, ge=1, le=10_000, description="a defect that is longer is closed in parts, each of which names it"
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
