"""A crop of a defect and the steel around it, cut from the frame that shows most of it."""

from dataclasses import dataclass

from linewatch.contracts.verdict import Defect, StripBox


@dataclass(frozen=True, slots=True)
class CropWindow:
    """The part of a frame in a crop: strip lines from `first_line`, camera columns from `left_px`."""

    first_line: int
    lines: int
    left_px: int
    columns: int
    box: StripBox


@dataclass(frozen=True, slots=True)
class Crop:
    """A closed defect's crop as an 8-bit gray PNG. Rows are strip lines, columns camera columns.

    scale: crop pixels per camera pixel, in both directions; below 1.0 for crops that would be too large.
    """

    defect: Defect  # as it closed
    coil_ordinal: int | None  # number of its coil, as on the wire
    coil_epoch: int | None  # in which its coil began, where it went on over a restart; None: in this one
    ordinal: int  # number of the frame
    captured_ns: int  # of the frame, monotonic
    window: CropWindow
    scale: float
    png: bytes
