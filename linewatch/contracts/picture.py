"""`PictureHealth`: how good the camera's picture is, told by figures that each have a limit."""

from dataclasses import dataclass
from enum import StrEnum


class PictureQuantity(StrEnum):
    """What is measured of the picture."""

    LIGHT = "light"  # of the strip, or of the target beside it, by what it was: common to all zones
    GRAY = "gray"  # gray level of the strip, whatever it is due to
    SEGMENT = "segment"  # the darkest zone across, by what it was beside the others
    SATURATION = "saturation"  # share of the strip's pixels that are blown out
    CONTRAST = "contrast"  # of the strip's texture, by what it was
    SHARPNESS = "sharpness"  # of the strip's texture
    EDGE_SHARPNESS = "edge_sharpness"  # of the strip's edge
    FIXED = "fixed"  # columns that show the camera, not the strip
    FROZEN = "frozen"  # share of the grabs that repeat an earlier one
    VIBRATION = "vibration"  # of the strip's edge within a frame
    WANDER = "wander"  # of the strip's edge from frame to frame


class PictureReference(StrEnum):
    """What relative figures are compared with."""

    LEARNING = "learning"  # nothing yet: the first metres are being measured
    FIRST_METRES = "first_metres"  # the first metres since the service started
    CALIBRATION = "calibration"  # the camera's flat field


@dataclass(frozen=True, slots=True)
class PictureReading:
    """One figure. It is bad below `limit`, or above it with `high`; and good again `deadband` to the other side.

    value: None: not known, as no strip, or no edge, has been seen yet. reference: what it was; None: it has none.
    per_hour: its slope, None while it is not distinct from noise. limit_in_h: when it reaches its limit if it goes on
    so; None where that cannot be told honestly. place: where it is worst, in words.
    """

    quantity: PictureQuantity
    value: float | None
    limit: float
    deadband: float
    high: bool = False
    reference: float | None = None
    per_hour: float | None = None
    limit_in_h: float | None = None
    place: str = ""

    def bad(self, *, before: bool = False) -> bool | None:
        """Return whether it is beyond its limit; None: not known. before: it was, so that the deadband counts."""
        if self.value is None:
            return None
        band = self.deadband if before else 0.0
        return self.value > self.limit - band if self.high else self.value < self.limit + band


@dataclass(frozen=True, slots=True)
class PictureHealth:
    """All figures after a frame that was measured. strip_mm: strip that has passed since the service started."""

    readings: tuple[PictureReading, ...]
    reference: PictureReference
    measured: int
    strip_mm: float

    def of(self, quantity: PictureQuantity) -> PictureReading | None:
        """Return one of the figures; None if it is not measured."""
        return next((one for one in self.readings if one.quantity is quantity), None)
