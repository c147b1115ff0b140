"""What every part of a camera's calibration says: when, by whom and from what it was made, and how good it is."""

import math
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

from linewatch.contracts.bounds import ShortText, printable
from linewatch.contracts.closed import ClosedModel


class Measured(ClosedModel):
    """A figure and its standard uncertainty: one standard deviation, as in the GUM (JCGM 100:2008)."""

    value: float
    uncertainty: float = Field(ge=0)

    def told(self, scale: float = 1.0, unit: str = "") -> str:
        """Return the figure as people read it, such as `0.42 ± 0.03 %` with scale 100.

        The uncertainty has one digit, and the figure ends where it does.
        """
        error = self.uncertainty * scale
        digits = min(6, max(0, -math.floor(math.log10(error)))) if error else 2
        return f"{self.value * scale:.{digits}f} ± {self.uncertainty * scale:.{digits}f}{f' {unit}' if unit else ''}"


class CalibrationPart(ClosedModel):
    """Base of the parts. A part holds for pictures of `width_px` only."""

    made: AwareDatetime = Field(description="date and time, with the zone")
    by: ShortText = Field(description="who made it")
    source: Annotated[str, Field(max_length=500), AfterValidator(printable)] = Field(
        description="what it was made from: a live camera's configuration, or recordings"
    )
    width_px: int = Field(ge=32, le=16384)

    def told_of(self) -> str:
        """Say how old the part is, who made it, and how good it is."""
        days = (datetime.now(UTC) - self.made).days
        return ", ".join((f"{days} days old", f"by {self.by}", *self.figures()))

    def figures(self) -> tuple[str, ...]:
        """Say in words how good the part is, with uncertainties."""
        return ()
