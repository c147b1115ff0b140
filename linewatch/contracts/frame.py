"""What a camera gives (`Grab`), and what the service inspects (`Frame`)."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from linewatch.contracts.coil import CoilData


class Cause(StrEnum):
    """Why a line of strip was not fully inspected. Counted, published, never silent."""

    LOST = "lost"  # the camera's counter jumped: lines that never reached us
    OVERRUN = "overrun"  # no free ring slot: everything behind capture was late
    TRUNCATED = "truncated"  # the buffer held fewer lines than passed
    WRONG_SIZE = "wrong_size"  # not the configured width, or more lines than configured
    COLOUR = "colour"  # channels differ: not a monochrome image
    DEPTH = "depth"  # not 8 bits a pixel
    FROZEN = "frozen"  # identical to the grab before
    BLACK = "black"  # no light: lamp, shutter or cable
    CORRUPT = "corrupt"  # could not be decoded
    ENGINE = "engine"  # an engine failed on this frame
    OVERLOAD = "overload"  # shed on purpose to keep up
    TURNED = "turned"  # the strip turned during the grab: which of its lines show what is not known


class PositionFault(StrEnum):
    """Why an encoder, or a time stamp, is not believed; the position is then a presumption (`encoded` is false)."""

    STUCK = "stuck"  # lines come, but the count stands
    JUMPED = "jumped"  # the count moved in a way that no strip can
    TOO_FAST = "too_fast"  # lines and count agree on a speed that the line cannot run
    PITCH = "pitch"  # lines and count disagree on the distance between two lines, steadily


class PositionSource(StrEnum):
    """What positions along the strip come from."""

    ENCODER = "encoder"
    LINE_RATE = "line_rate"  # lines, pitch and line rate
    SIDECAR = "sidecar"  # what was recorded with each grab
    TIMESTAMPS = "timestamps"  # when each grab was taken, and the line rate


@dataclass(frozen=True, slots=True)
class Grab:
    """One buffer as a camera gave it, before anything was checked.

    `image` is valid only until the camera's next `read()`: shape (lines, width) or (lines, width, channels), any
    dtype; None when the source could not decode it (`fault` then says why).
    """

    image: np.ndarray | None
    coil: str
    sequence: int  # the camera's own counter; a jump of more than 1 means lost grabs
    first_line: int  # lines since the head of the coil
    lines: int  # lines of strip that passed during this grab, delivered or not
    encoder_count: int
    along_mm: float  # strip position of `first_line`, from the head of the coil
    mm_per_line: float
    captured_ns: int  # when the last line arrived (the camera's Clock)
    encoded: bool = True  # False: `along_mm` derives from line rate and pitch, there is no encoder
    fault: Cause | None = None
    position_fault: PositionFault | None = None
    encoder_stop: int | None = None  # the counter behind the last line, where the camera tells it
    change_line: int | None = None  # the first of its lines behind a weld, or an input that tells of a new coil


@dataclass(frozen=True, slots=True)
class Frame:
    """One stretch of strip on its way to a verdict; every line that passed is in exactly one `Frame`.

    `pixels` is a read-only uint8 view (frame_lines, width) of a ring slot, valid until the slot is released; rows from
    `valid_lines` on are zero. None when nothing can be inspected (then `valid_lines` is 0).
    """

    pixels: np.ndarray | None
    slot: int | None  # ring slot that `pixels` looks at; whoever finishes the frame releases it
    ordinal: int  # dense count of frames in this run, from 0: the order that is restored after inference
    coil: str
    side: str
    camera: str
    sequence: int
    first_line: int
    lines: int  # lines of strip that this frame accounts for
    valid_lines: int  # of them, the leading lines that `pixels` really shows
    encoder_count: int
    along_mm: float
    mm_per_line: float
    mm_per_px: float
    captured_ns: int
    encoded: bool = True
    fault: Cause | None = None  # why `valid_lines` < `lines`
    position_fault: PositionFault | None = None
    source_coil: str = ""  # what the source calls the coil
    head_line: int = 0  # the source's line at which the coil begins, where it does not begin with the source's
    between_coils: bool = False  # an order said that the coil ended, and none began yet
    data: CoilData | None = None  # of the coil, as far as they are known now


@dataclass(frozen=True, slots=True)
class StripEdges:
    """Where the steel is: columns [left_px, right_px) of a frame. Empty (left == right) when there is no strip in view.

    `left_found` / `right_found`: the edge was seen; otherwise the strip runs out of the picture there.
    """

    left_px: int
    right_px: int
    left_found: bool
    right_found: bool
