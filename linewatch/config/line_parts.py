"""The parts of a camera's calibration that say where the camera looks: across, along, beside its neighbour, and for
the strip's edges.
"""

from typing import Annotated, Self

from pydantic import AwareDatetime, Field, model_validator

from linewatch.config.calibration_part import CalibrationPart, Measured
from linewatch.config.line import MOST_DISTORTIONS, refuse_squeezed
from linewatch.contracts.across import AcrossMap
from linewatch.contracts.bounds import ShortText


class CameraGeometry(CalibrationPart):
    """Where the camera's columns lie across the mill, from a target of known pitch. Replaces settings of [line]."""

    across_offset_mm: Measured = Field(description="position of the first pixel across the mill, from the mill's datum")
    mm_per_px: Measured = Field(description="across the strip, the mean over the camera's width; more than 0")
    distortion_px: Annotated[tuple[float, ...], Field(max_length=MOST_DISTORTIONS)] = Field(
        default=(), description="of the lens, as [line] distortion_px"
    )
    distortion_mm: float = Field(ge=0, description="by how much the lens moves a position at most")
    position_uncertainty_mm: float = Field(
        ge=0, description="standard uncertainty of a position across, where it is largest"
    )
    residual_mm: float = Field(ge=0, description="root mean square of the edges' distance from the map")
    pitch_mm: float = Field(gt=0, description="of the target: a dark and a light bar")
    edges: int = Field(ge=1, description="of the target's bars, that the map was fitted to")

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if self.mm_per_px.value <= 0:
            raise ValueError(f"mm_per_px is {self.mm_per_px.value:g}, expected more than 0")
        refuse_squeezed(self.columns)
        return self

    @property
    def columns(self) -> AcrossMap:
        """Where the columns lie across."""
        return AcrossMap(self.across_offset_mm.value, self.mm_per_px.value, self.width_px, self.distortion_px)

    def figures(self) -> tuple[str, ...]:
        return (
            self.mm_per_px.told(1, "mm a pixel"),
            f"positions ± {self.position_uncertainty_mm:.3f} mm",
            f"lens distortion up to {self.distortion_mm:.2f} mm",
        )


class EncoderScale(CalibrationPart):
    """What the encoder counts on a known length of strip. Replaces counts_per_mm and strip_mm_per_roll_mm."""

    counts_per_mm: Measured = Field(description="per millimetre of strip: slip and wear of the roll are in it")
    length_mm: Measured = Field(description="between the two marks, as it was measured by hand")
    counts: Measured = Field(description="of the encoder, between the two marks")

    @model_validator(mode="after")
    def _counts(self) -> Self:
        if self.counts_per_mm.value <= 0:
            raise ValueError(f"counts_per_mm is {self.counts_per_mm.value:g}, expected more than 0")
        return self

    def figures(self) -> tuple[str, ...]:
        return (self.counts_per_mm.told(1, "counts a millimetre of strip"),)


class CameraOverlap(CalibrationPart):
    """How this camera's positions differ from those of its neighbour, from strip that both see.

    What joins cameras to one strip adds both figures to the positions that this camera's service tells. Where the
    neighbour has an overlap with another camera, its figures are in these: all lead to the same camera's positions.
    """

    neighbour: ShortText = Field(description="serial of the camera beside it, which was taken as right")
    across_shift_mm: Measured = Field(description="added to this camera's positions across, gives the neighbour's")
    along_offset_mm: Measured = Field(description="added to this camera's positions along, gives the neighbour's")
    overlap_mm: float = Field(gt=0, description="width of strip that both see")
    correlation: float = Field(ge=0, le=1, description="of what both recorded of it")
    geometry_made: AwareDatetime | None = Field(
        default=None, description="date of the `geometry` that it was measured with; none: with that of [line]"
    )

    def figures(self) -> tuple[str, ...]:
        return (
            f"beside {self.neighbour}",
            self.across_shift_mm.told(1, "mm across"),
            self.along_offset_mm.told(1, "mm along"),
        )


class EdgeThresholds(CalibrationPart):
    """Thresholds for the strip-edge finder, from this camera's own strip and background. Replaces settings of
    [capture].
    """

    edge_level: int = Field(ge=1, le=254, description="as [capture] edge_level")
    edge_min_width_px: int = Field(ge=1, description="as [capture] edge_min_width_px")
    background_level: Measured = Field(description="mean gray level of columns beside the strip")
    strip_level: Measured = Field(description="mean gray level of columns of strip")
    wrong_columns: float = Field(ge=0, le=1, description="share of columns on the wrong side of edge_level")
    edge_scatter_px: float = Field(ge=0, description="standard deviation of an edge from picture to picture")

    def figures(self) -> tuple[str, ...]:
        return (
            f"edge_level {self.edge_level} between background {self.background_level.told()} and strip "
            f"{self.strip_level.told()}",
        )
