"""`[decision]` and `[[alarm]]`: what counts as one defect, and which defects ask for an operator."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from linewatch.config.base import Settings
from linewatch.contracts.alarm import Priority


class SensitivityRule(Settings):
    """`[[decision.sensitivity]]`: what a defect must reach to be reported, where the usual thresholds do not suit.

    The first rule that fits a defect's class, place and product decides alone; what it gives stands in place of the
    operating point's limit as well. A defect is in a zone when all of it is; in an edge zone only where an edge was
    seen.
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
    operating_point: Literal["quiet", "full"] = Field(
        default="quiet",
        description="quiet: a defect grades and alarms once it reaches the classifier's calibrated call_limits, and is "
        "tentative below them; full: whatever it claims does",
    )
    merge_gap_mm: float = Field(default=2.0, ge=0, le=100, description="components nearer than this are one defect")
    part_m: float = Field(
        default=100.0, ge=1, le=10_000, description="a defect that is longer is closed in parts, each of which names it"
    )
    product: str | None = Field(
        default=None, min_length=1, max_length=64, description="on the line; chooses among the sensitivity rules"
    )
    sensitivity: Annotated[tuple[SensitivityRule, ...], Field(strict=False)] = ()
    head_excluded_m: float = Field(
        default=0.0, ge=0, le=1_000, description="of each coil: what lies in it neither grades nor alarms"
    )
    tail_excluded_m: float = Field(default=0.0, ge=0, le=200, description="the same at its tail")
    grading: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="grading rules of the product and customer; none: coils are not graded"
    )


class AlarmRule(Settings):
    """Raised while a coil holds `min_count` defects of `classes`, each at least so big, within `within_m` metres; or,
    with `roll_mark`, while a roll leaves marks of these classes, `min_count` of them or more.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    classes: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(), description="empty: every class that may alarm"
    )
    min_area_mm2: float = Field(default=0.0, ge=0)
    min_length_mm: float = Field(default=0.0, ge=0, description="along the strip")
    min_confidence: float = Field(default=0.0, ge=0, le=1)
    min_count: int = Field(default=1, ge=1)
    within_m: float = Field(default=1.0, gt=0, description="the count's window; not used when min_count is 1")
    latch: bool = Field(default=True, description="stands until acknowledged or the coil ends; false: ends by itself")
    priority: Annotated[Priority, Field(strict=False)] = Priority.MEDIUM
    group: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$",
        description="of rules that one cause makes true: the first of them to alarm is marked",
    )
    on_delay_m: float = Field(default=0.0, ge=0, le=10_000, description="true for so much strip before it alarms")
    off_delay_m: float = Field(default=0.0, ge=0, le=10_000, description="false for so much strip before it is over")
    deadband_count: int = Field(default=0, ge=0, description="over only below min_count by more than this")
    roll_mark: bool = Field(default=False, description="of a row of marks that a roll left, not of single defects")

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        if self.roll_mark:
            for name in ("min_area_mm2", "min_length_mm", "min_confidence", "within_m", "deadband_count"):
                if getattr(self, name) != AlarmRule.model_fields[name].default:
                    raise ValueError(f"{name} says nothing of a roll mark; leave it out, or take roll_mark out")
        return self

    @model_validator(mode="after")
    def _can_end(self) -> Self:
        if self.deadband_count >= self.min_count:
            raise ValueError(
                f"deadband_count {self.deadband_count} with min_count {self.min_count}: the alarm would never be over; "
                f"expected at most {self.min_count - 1}"
            )
        return self


class AlarmSettings(Settings):
    """`[alarms]`: what holds for all alarms."""

    head_exclusion_m: float = Field(
        default=0.0, ge=0, le=1000, description="threading: defects that lie within it do not alarm"
    )
    flood_count: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="more alarms within flood_window_m are one, 'flood'; none: never",
    )
    flood_window_m: float = Field(default=50.0, gt=0, le=10_000)
    max_shelve_minutes: float = Field(default=480.0, gt=0, le=10_080, description="no alarm is shelved for longer")


class SystemAlarmSettings(Settings):
    """`[system_alarms]`: what is wrong with the inspection itself. Where it is left out, there are none of these."""

    camera_silent_s: float | None = Field(
        default=30.0, gt=0, le=86_400, description="live: camera-silent when no grab came for so long; none: never"
    )
    camera_lost_m: float | None = Field(
        default=10.0, ge=0, le=10_000, description="camera-lost when so much strip came without a usable picture"
    )
    coverage_below: float | None = Field(
        default=0.95, gt=0, le=1, description="coverage-low when a smaller share was inspected"
    )
    coverage_within_m: float = Field(default=100.0, gt=0, le=10_000, description="of the last metres")
    coverage_deadband: float = Field(default=0.02, ge=0, lt=1, description="over at coverage_below plus this")
    engine_off_delay_m: float = Field(
        default=10.0, ge=0, le=10_000, description="engine-failing is over after so much strip without a failure"
    )
    disk_free_below_mb: float | None = Field(default=1024.0, gt=0, description="live: disk-low, of the journal's disk")
    disks: Annotated[tuple[Path, ...], Field(strict=False)] = Field(
        default=(), description="folders on other disks that disk-low is about, too: the history's, its pictures'"
    )

    @model_validator(mode="after")
    def _can_end(self) -> Self:
        if self.coverage_below is not None and self.coverage_below + self.coverage_deadband > 1.0:
            raise ValueError(
                f"coverage_below {self.coverage_below:g} plus coverage_deadband {self.coverage_deadband:g} is more "
                "than 1: the alarm would never be over; lower one of them"
            )
        return self
