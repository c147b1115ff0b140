"""`[line]`: the camera's place over the strip."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from linewatch.config.base import Settings
from linewatch.contracts.across import AcrossMap

PITCH_TOLERANCE = 0.1
"""Share by which the pitch of the encoder may differ from `mm_per_line`, the pitch of engines and sources."""
MOST_DISTORTIONS = 4
"""Coefficients of the lens's distortion: a polynomial of the fifth degree in all."""
COUNTER_FRAMES = 8
"""A counter that rolls over in fewer frames can be misread by a whole turn of the counter."""


class EncoderSettings(Settings):
    """The measuring roll, its encoder, and how the camera counts its pulses."""

    triggers: bool = Field(
        default=True,
        description="true: the encoder triggers each line; false: the camera runs free at line_rate_hz, and its lines "
        "are resampled to this pitch",
    )
    bits: Literal[16, 24, 32] = Field(default=32, description="width of the counter, which rolls over")
    counts_up: bool = Field(default=True, description="the counter rises while the strip runs forward")
    counts_per_mm: float = Field(gt=0, le=10_000, description="per millimetre of the measuring roll's circumference")
    counts_per_line: float = Field(ge=1, le=100_000, description="counts between two lines")
    strip_mm_per_roll_mm: float = Field(
        default=1.0,
        ge=0.9,
        le=1.1,
        description="calibration for slip and wear: a known length of strip over the length that the roll measures",
    )
    max_reverse_m: float = Field(
        default=10.0, gt=0, le=1000, description="a longer movement without lines is a jump of the counter"
    )

    @property
    def mm_per_line(self) -> float:
        """Strip between two lines, in millimetres."""
        return self.counts_per_line / self.counts_per_mm * self.strip_mm_per_roll_mm


class LineSettings(Settings):
    """Geometry of one camera over the strip."""

    side: Literal["top", "bottom"] = Field(default="top", description="of the strip")
    camera: str = Field(default="cam1", pattern=r"^[A-Za-z0-9_-]{1,32}$", description="name in every message")
    width_px: int = Field(default=1600, ge=32, le=16384, description="pixels of a camera line")
    frame_lines: int = Field(default=256, ge=16, le=4096, description="camera lines of a frame")
    mm_per_px: float = Field(default=0.5, gt=0, le=10, description="across the strip, the mean over the camera's width")
    mm_per_line: float = Field(default=1.0, gt=0, le=10, description="along the strip, for sources without an encoder")
    line_rate_hz: float = Field(
        default=20_000.0, gt=0, le=1e6, description="for sources without time stamps and cameras that run free"
    )
    across_offset_mm: float = Field(
        default=0.0, description="position of the first pixel across the mill, from the mill's datum"
    )
    distortion_px: Annotated[tuple[float, ...], Field(strict=False, max_length=MOST_DISTORTIONS)] = Field(
        default=(),
        description="of the lens: it adds (1 - t^2) (a0 + a1 t + a2 t^2 ...) pixels to a column, where t runs from -1 "
        "to 1 over the camera's width; `linewatch calibrate geometry` measures it",
    )
    strip_width_mm: float | None = Field(
        default=None,
        gt=0,
        description="width of strip in view, the narrowest that is run, until coil data or the coil's own frames tell",
    )
    strip_taper: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of its width by which the strip of a coil may become narrower; what is missing beyond it "
        "was not seen (cause narrow), as when a lamp fails slowly",
    )
    max_speed_m_per_s: float = Field(default=50.0, gt=0, le=200, description="a higher speed is a fault of the encoder")
    encoder: EncoderSettings | None = Field(default=None, description="none: no encoder is read")

    @property
    def across(self) -> AcrossMap:
        """Where this camera's columns lie across the strip."""
        return AcrossMap(self.across_offset_mm, self.mm_per_px, self.width_px, self.distortion_px)

    @model_validator(mode="after")
    def _columns_ascend(self) -> Self:
        refuse_squeezed(self.across)
        return self

    @model_validator(mode="after")
    def _encoder_fits(self) -> Self:
        if self.encoder is None:
            return self
        pitch_mm, counts = self.encoder.mm_per_line, self.encoder.counts_per_line * self.frame_lines * COUNTER_FRAMES
        if not 1 - PITCH_TOLERANCE <= pitch_mm / self.mm_per_line <= 1 + PITCH_TOLERANCE:
            raise ValueError(
                f"[line.encoder] gives a line every {pitch_mm:.4g} mm, mm_per_line is {self.mm_per_line:.4g}: "
                "counts_per_line / counts_per_mm is the pitch; correct the one that is wrong"
            )
        if counts > 1 << self.encoder.bits:
            raise ValueError(
                f"[line.encoder] a counter of {self.encoder.bits} bits rolls over within {COUNTER_FRAMES} frames "
                f"({counts:.0f} counts), so rollovers could be miscounted; use a wider counter or shorter frames"
            )
        return self


def refuse_squeezed(columns: AcrossMap) -> None:
    """Raise ValueError where the lens squeezes a part of the camera line, which would bring columns out of order."""
    places_mm = columns.mm(np.linspace(0.0, columns.width_px, 257))
    if np.diff(places_mm).min() < 0.5 * columns.mm_per_px * columns.width_px / 256:
        raise ValueError(
            f"distortion_px {list(columns.distortion_px)} squeezes a part of the camera line to less than half; "
            "expected the distortion of a lens, some percent; calibrate again"
        )
