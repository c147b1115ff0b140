"""A picture of a defect: the steel around it, as the frame that shows most of it had it."""

from dataclasses import dataclass

from linewatch.contracts.verdict import Defect, StripBox


@dataclass(frozen=True, slots=True)
class CropWindow:
    """What of a frame a picture shows: strip lines [first_line, +lines), camera columns [left_px, +columns)."""

    first_line: int
    lines: int
    left_px: int
    columns: int
    box: StripBox


@dataclass(frozen=True, slots=True)
class Crop:
    """A closed defect's picture, uint8 gray as PNG: rows are strip lines, columns those of the camera.

    scale: picture pixels per camera pixel, both ways; 1.0 unless it was too large.
    """

    defect: Defect  # as it closed
    coil_ordinal: int | None  # of its coil in this run; as on the wire
    ordinal: int  # of the frame
    captured_ns: int
    window: CropWindow
    scale: float
    png: bytes
