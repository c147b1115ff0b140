"""`[picture]`: how the health of the camera's picture is measured, and the limits at which it raises alarms."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from linewatch.config.base import Settings


class PictureSettings(Settings):
    """How the picture is measured, and its limits. docs/picture-health.md says where the limits come from."""

    every_frames: int = Field(default=8, ge=1, le=1000, description="one frame of the strip in so many is measured")
    within_m: float = Field(
        default=100.0,
        gt=0,
        le=100_000,
        description="strip over which figures are averaged; an eighth of it for the focus",
    )
    target_px: Annotated[tuple[int, int], Field(strict=False)] | None = Field(
        default=None,
        description="columns, from and to, of a target beside the strip that is always in the light, narrower than "
        "[capture] edge_min_width_px so that it is not taken for strip; its level then tells the light; none: the "
        "strip's level does",
    )
    light_below: float = Field(
        default=0.75, gt=0, lt=1, description="raises light-low: share of the light that is left of what it was"
    )
    gray_below: float = Field(
        default=40.0, ge=0, le=254, description="raises light-low: gray level of the strip, whatever it was"
    )
    segment_below: float = Field(
        default=0.75, gt=0, lt=1, description="raises lamp-segment-dark: share of the light left in one zone across"
    )
    saturation_above: float = Field(
        default=0.03, gt=0, lt=1, description="raises picture-saturated: share of the strip's pixels at bright_level"
    )
    contrast_below: float = Field(
        default=0.6, gt=0, lt=1, description="raises contrast-low: share of the texture's contrast that is left"
    )
    sharpness_below: float = Field(
        default=0.24,
        gt=0,
        lt=1,
        description="raises picture-blurred: energy of gray-level differences over 1 px by that over 4 px",
    )
    blurred_below: float = Field(
        default=0.16, ge=0, lt=1, description="the same; strip that is less sharp is degraded (cause blurred)"
    )
    edge_sharpness_below: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="steepest step over 1 px at the strip's edge by that over 4 px; where an edge is sharper, the lens "
        "is in focus, however smooth the strip is",
    )
    fixed_depth: float = Field(
        default=0.15,
        gt=0,
        lt=1,
        description="columns that are so much darker or brighter than those around them on three coils in a row, or "
        "that do not change while the strip runs, are not inspected (cause dirty)",
    )
    dirt_depth: float = Field(
        default=0.08,
        gt=0,
        lt=1,
        description="raises lens-dirty: the same as fixed_depth, on two coils in a row; such columns are still "
        "inspected. Where it is more than fixed_depth, that holds",
    )
    frozen_above: float = Field(
        default=0.1, gt=0, lt=1, description="raises picture-frozen: share of the grabs that repeat an earlier one"
    )
    vibration_above_mm: float = Field(
        default=5.0, gt=0, description="raises strip-unsteady: deviation of the strip's edge within a frame"
    )
    wander_above_mm: float = Field(
        default=25.0, gt=0, description="raises strip-unsteady: deviation of the strip's edge from frame to frame"
    )
    deadband: float = Field(
        default=0.1, ge=0, lt=1, description="share of its limit by which a figure must be better before its alarm ends"
    )

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.target_px is not None and not 0 <= self.target_px[0] < self.target_px[1]:
            raise ValueError(f"target_px {list(self.target_px)} holds no column; expected [from, to], ascending")
        if self.blurred_below > self.sharpness_below:
            raise ValueError(
                f"blurred_below {self.blurred_below:g} is above sharpness_below {self.sharpness_below:g}: strip would "
                "be degraded before the alarm; lower it"
            )
        return self
