"""`[[roll]]` and `[periodic]`: the rolls that may leave marks, and when recurring defects are a roll mark."""

import math
from typing import Self

from pydantic import Field, model_validator

from linewatch.config.base import Settings


class RollSettings(Settings):
    """A roll that touches the strip ahead of the camera.

    Its marks pass the camera every pi * diameter * (1 + forward_slip) * h_stand / h_exit millimetres: the strip leaves
    a stand faster than the roll turns, and later stands elongate it.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,63}$", description="unique")
    stand: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,31}$", description="mill stand, such as F7")
    diameter_min_mm: float = Field(ge=20, le=3000, description="of the roll when it is worn")
    diameter_max_mm: float = Field(ge=20, le=3000, description="of the roll when it is new")
    forward_slip: float = Field(
        default=0.0,
        ge=-0.1,
        le=0.3,
        description="share by which the strip is faster than the roll; 0 for a roll that the strip drives",
    )
    forward_slip_error: float = Field(
        default=0.02, ge=0, le=0.2, description="uncertainty of forward_slip, plus or minus"
    )
    h_stand_mm: float = Field(gt=0, le=500, description="thickness of the strip behind this stand")
    h_exit_mm: float = Field(gt=0, le=500, description="thickness of the strip at the camera")

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.diameter_min_mm > self.diameter_max_mm:
            raise ValueError(
                f"diameter_min_mm {self.diameter_min_mm:g} is above diameter_max_mm {self.diameter_max_mm:g}; "
                "give the worn one as min and the new one as max"
            )
        if self.h_stand_mm < self.h_exit_mm:
            raise ValueError(
                f"h_stand_mm {self.h_stand_mm:g} is below h_exit_mm {self.h_exit_mm:g}, but strip is never rolled "
                "thicker; for a roll behind the last stand give both alike"
            )
        return self

    @property
    def stretch(self) -> tuple[float, float]:
        """Pitch of the marks over the circumference of the roll, lowest and highest."""
        drawn = self.h_stand_mm / self.h_exit_mm
        low, high = (1 + self.forward_slip + sign * self.forward_slip_error for sign in (-1, 1))
        return low * drawn, high * drawn

    @property
    def pitch_mm(self) -> tuple[float, float]:
        """Shortest and longest distance between two marks at the camera."""
        low, high = self.stretch
        return math.pi * self.diameter_min_mm * low, math.pi * self.diameter_max_mm * high


class PeriodicSettings(Settings):
    """Which recurring defects are a roll mark, and how many false calls are allowed."""

    min_pitch_mm: float = Field(default=400.0, ge=50, le=50_000, description="shortest distance between two marks")
    max_pitch_mm: float = Field(default=12_000.0, ge=50, le=50_000, description="longest distance between two marks")
    across_tolerance_mm: float = Field(
        default=6.0, gt=0, le=100, description="largest offset of a mark across, from the first mark"
    )
    along_tolerance_mm: float = Field(
        default=8.0, gt=0, le=200, description="largest offset of a mark along, from its expected place"
    )
    pitch_tolerance: float = Field(
        default=0.002, ge=0, le=0.05, description="share of the pitch that is added to along_tolerance_mm"
    )
    false_calls_per_100_km: float = Field(default=0.5, gt=0, le=1000, description="expected number of false roll marks")

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.min_pitch_mm >= self.max_pitch_mm:
            raise ValueError(f"min_pitch_mm {self.min_pitch_mm:g} must be below max_pitch_mm {self.max_pitch_mm:g}")
        if 4 * (self.along_tolerance_mm + self.pitch_tolerance * self.min_pitch_mm) > self.min_pitch_mm:
            raise ValueError(
                f"marks of min_pitch_mm {self.min_pitch_mm:g} cannot be told apart with along_tolerance_mm "
                f"{self.along_tolerance_mm:g}: raise min_pitch_mm, or set along_tolerance_mm below a quarter of it"
            )
        return self
