"""`[decision]` and the alarms: what counts as one defect, and which defects call an operator."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from linewatch.config.base import Settings
from linewatch.contracts.alarm import Priority
from linewatch.contracts.closed import without_outdated


class SensitivityRule(Settings):
    """Limits for some defects in place of the general thresholds.

    The first rule that fits the class, place and product of a defect decides alone. A defect lies in a zone when all of
    it does; an edge zone needs an edge that was found.
    """

    classes: Annotated[tuple[str, ...], Field(strict=False)] = Field(default=(), description="empty: every class")
    product: str | None = Field(default=None, min_length=1, max_length=64, description="none: every product")
    edge_zone_mm: float | None = Field(
        default=None, gt=0, le=1_500, description="width of a zone along either strip edge"
    )
    across_mm: Annotated[tuple[float, float], Field(strict=False)] | None = Field(
        default=None, description="from and to, across the mill from its datum"
    )
    min_confidence: float | None = Field(default=None, gt=0, le=1, description="replaces the threshold of the engine")
    min_area_mm2: float | None = Field(default=None, ge=0, le=1e9, description="replaces [decision] min_area_mm2")
    call_probability: float | None = Field(
        default=None, ge=0, le=1, description="replaces [decision] call_probability; 0 calls every one"
    )

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.min_confidence is None and self.min_area_mm2 is None and self.call_probability is None:
            raise ValueError(
                "a sensitivity without min_confidence, min_area_mm2 or call_probability changes nothing; give one of "
                "them"
            )
        if self.across_mm is not None and self.across_mm[0] >= self.across_mm[1]:
            raise ValueError(f"across_mm {list(self.across_mm)} is empty, expected [from, to], ascending")
        return self


class DecisionSettings(Settings):
    """How predictions become defect instances."""

    defect_threshold: float | None = Field(
        default=None, ge=0, le=1, description="replaces the thresholds in the manifest of the segmenter"
    )
    min_area_mm2: float = Field(default=4.0, ge=0, description="smaller components of a mask are noise")
    call_probability: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="a defect counts for grades and alarms from this probability on, and is tentative below it; none: "
        "that of the engine's probability model, or 0.5 where it has none",
    )
    tell_probability: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="a less probable defect is not published; none: that of the engine's probability model, or without "
        "one 0, or the defect threshold of an engine that inspects whole frames",
    )
    normal: Annotated[Path, Field(strict=False)] | None = Field(
        default=None,
        description="file of what is normal on this line (`linewatch learn-normal`): what its clean strip is full of "
        "becomes less probable; none: nothing is known of it",
    )
    merge_gap_mm: float = Field(
        default=2.0, ge=0, le=100, description="components of a mask that lie nearer are one defect"
    )
    part_m: float = Field(
        default=100.0, ge=1, le=10_000, description="a longer defect is closed in parts, each of which names the defect"
    )
    product: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="product on the line; selects sensitivity rules and must be that of the grading rules",
    )
    sensitivity: Annotated[tuple[SensitivityRule, ...], Field(strict=False)] = Field(
        default=(), description="the first rule that fits a defect holds"
    )
    head_excluded_m: float = Field(
        default=0.0, ge=0, le=1_000, description="head of each coil whose defects count for neither grades nor alarms"
    )
    tail_excluded_m: float = Field(default=0.0, ge=0, le=200, description="the same at the tail")
    grading: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="file of grading rules; none: coils are not graded"
    )

    @model_validator(mode="before")
    @classmethod
    def _without_operating_point(cls, tree: Any) -> Any:
        """Ignore what configurations of before 2026-12 may name."""
        return without_outdated(
            tree,
            "operating_point",
            "[decision] operating_point is ignored: a defect is called by its probability; remove it, and write "
            "call_probability where the engine's own value does not suit (0 calls every defect, as 'full' did)",
        )


class AlarmRule(Settings):
    """An alarm while a coil has `min_count` defects of `classes`, each of the given size or larger, within `within_m`.

    With `roll_mark` instead: while a roll leaves marks of these classes, `min_count` of them or more.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="unique; operators shelve a rule by it")
    classes: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(), description="empty: every class but pseudo-defects"
    )
    min_area_mm2: float = Field(default=0.0, ge=0, description="smaller defects do not count")
    min_length_mm: float = Field(default=0.0, ge=0, description="along the strip; shorter defects do not count")
    min_confidence: float = Field(default=0.0, ge=0, le=1, description="defects below it do not count")
    min_probability: float = Field(
        default=0.0, ge=0, le=1, description="the same, of `probability`; tentative defects never count"
    )
    min_count: int = Field(default=1, ge=1, description="defects, or marks of a roll mark, that raise the alarm")
    within_m: float = Field(default=1.0, gt=0, description="window of the count; not used when min_count is 1")
    latch: bool = Field(
        default=True, description="true: stands until it is acknowledged or the coil ends; false: ends by itself"
    )
    priority: Annotated[Priority, Field(strict=False)] = Field(
        default=Priority.MEDIUM, description="urgency for the operator"
    )
    group: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$",
        description="name shared by rules with a common cause; the first of them to alarm is marked as the first",
    )
    on_delay_m: float = Field(
        default=0.0, ge=0, le=10_000, description="strip for which the condition holds before the alarm is raised"
    )
    off_delay_m: float = Field(
        default=0.0, ge=0, le=10_000, description="strip without the condition before the alarm is over"
    )
    deadband_count: int = Field(
        default=0, ge=0, description="the alarm is over when the count is below min_count by more than this"
    )
    roll_mark: bool = Field(default=False, description="true: counts the marks of a roll mark, not single defects")

    @model_validator(mode="after")
    def _suits_a_roll_mark(self) -> Self:
        if self.roll_mark:
            for name in (
                "min_area_mm2",
                "min_length_mm",
                "min_confidence",
                "min_probability",
                "within_m",
                "deadband_count",
            ):
                if getattr(self, name) != AlarmRule.model_fields[name].default:
                    raise ValueError(f"{name} does not apply to a roll mark; remove it, or remove roll_mark")
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
    """Settings that hold for all alarms."""

    head_exclusion_m: float = Field(
        default=0.0, ge=0, le=1000, description="head of each coil whose defects raise no alarm"
    )
    flood_count: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="more alarms within flood_window_m become one, 'flood'; none: never",
    )
    flood_window_m: float = Field(default=50.0, gt=0, le=10_000, description="window of flood_count")
    max_shelve_minutes: float = Field(
        default=480.0, gt=0, le=10_080, description="longest time for which an alarm is shelved"
    )


SystemAlarm = Literal[
    "camera-away",
    "camera-silent",
    "camera-lost",
    "coverage-low",
    "engine-failing",
    "engine-failed-over",
    "recipe-engine-lacking",
    "engine-withdrawn",
    "restart-gap",
    "clock-stepped",
    "disk-low",
    "journal-lost",
    "light-low",
    "lamp-segment-dark",
    "picture-saturated",
    "contrast-low",
    "picture-blurred",
    "lens-dirty",
    "picture-frozen",
    "strip-unsteady",
    "camera-out",
]


class SystemAlarmSettings(Settings):
    """Alarms about the inspection itself. All are on; name those in `off` that nobody wants."""

    off: Annotated[tuple[SystemAlarm, ...], Field(strict=False)] = Field(
        default=(), description="alarms about the inspection that are never raised"
    )
    camera_silent_s: float | None = Field(
        default=30.0,
        gt=0,
        le=86_400,
        description="live: raises camera-silent when no grab arrives for this long; none: never",
    )
    camera_lost_m: float | None = Field(
        default=10.0, ge=0, le=10_000, description="raises camera-lost after this much strip without a usable picture"
    )
    coverage_below: float | None = Field(
        default=0.95,
        gt=0,
        le=1,
        description="raises coverage-low when a smaller share of the area of strip was inspected",
    )
    coverage_within_m: float = Field(
        default=100.0, gt=0, le=10_000, description="strip over which coverage counts, or the coil when it ends shorter"
    )
    coverage_deadband: float = Field(
        default=0.02, ge=0, lt=1, description="coverage-low is over at coverage_below plus this share"
    )
    engine_off_delay_m: float = Field(
        default=10.0, ge=0, le=10_000, description="engine-failing is over after this much strip without a failure"
    )
    disk_free_below_mb: float | None = Field(
        default=1024.0, gt=0, description="live: raises disk-low for the disk of the journal; none: never"
    )
    picture_delay_m: float = Field(
        default=50.0,
        ge=0,
        le=10_000,
        description="strip before an alarm about the picture is raised, and without its condition before it is over",
    )
    disks: Annotated[tuple[Annotated[Path, Field(strict=False)], ...], Field(strict=False)] = Field(
        default=(), description="folders on other disks that disk-low watches as well, such as those of the history"
    )

    @model_validator(mode="after")
    def _can_end(self) -> Self:
        if self.coverage_below is not None and self.coverage_below + self.coverage_deadband > 1.0:
            raise ValueError(
                f"coverage_below {self.coverage_below:g} plus coverage_deadband {self.coverage_deadband:g} is more "
                "than 1: the alarm would never be over; lower one of them"
            )
        return self
