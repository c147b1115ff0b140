"""`Grab`, a buffer as a camera delivers it, and `Frame`, a stretch of strip as the service inspects it."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from linewatch.contracts.across import AcrossMap
from linewatch.contracts.coil import CoilData
from linewatch.contracts.picture import PictureHealth
from linewatch.contracts.restart import SourcePlace, StripGap


class Cause(StrEnum):
    """Why a line of strip was not fully inspected. Such lines are always counted and published."""

    LOST = "lost"  # the camera's counter jumped: these lines were never received
    OVERRUN = "overrun"  # no free ring slot: the stages after capture were late
    TRUNCATED = "truncated"  # the buffer, or the recording, held fewer lines than passed
    WRONG_SIZE = "wrong_size"  # not the configured width, or more lines than configured
    COLOUR = "colour"  # channels differ: not a monochrome image
    DEPTH = "depth"  # not 8 bits a pixel
    FROZEN = "frozen"  # identical to the grab before
    BLACK = "black"  # no light: lamp, shutter or cable
    CORRUPT = "corrupt"  # could not be decoded
    ENGINE = "engine"  # an engine failed on this frame
    OVERLOAD = "overload"  # skipped on purpose to keep up
    TURNED = "turned"  # the strip reversed during the grab: the positions of its lines are unknown
    NO_STRIP = "no_strip"  # no steel in view: off the line, out of view, or too dark to be seen
    NARROW = "narrow"  # the strip looks narrower than it must be: a part of it is not seen
    DARK = "dark"  # zones of the strip are too dark to be judged
    BRIGHT = "bright"  # zones of the strip are blown out
    BLURRED = "blurred"  # the lens is out of focus
    DIRTY = "dirty"  # columns that show the camera, not the strip: dirt on the lens, dead pixels
    CALIBRATION = "calibration"  # the camera's calibration cannot be used, or a demanded one is not there
    RESTART = "restart"  # it passed while the service was down
    CAMERA = "camera"  # it passed while the camera was lost, or not there yet
    UNTOLD = "untold"  # inspected, but the decision could not be made or published: an error of the service, in its log


class PositionFault(StrEnum):
    """Why an encoder or time stamp is not trusted; the position is then computed from lines (`encoded` is false)."""

    STUCK = "stuck"  # lines arrive, but the count does not change
    JUMPED = "jumped"  # the count changed as no strip can move
    TOO_FAST = "too_fast"  # lines and count agree on a speed that the line cannot reach
    PITCH = "pitch"  # lines and count disagree steadily on the distance between two lines


class PositionSource(StrEnum):
    """What positions along the strip come from."""

    ENCODER = "encoder"
    LINE_RATE = "line_rate"  # lines, pitch and line rate
    SIDECAR = "sidecar"  # what was recorded with each grab
    TIMESTAMPS = "timestamps"  # when each grab was taken, and the line rate


@dataclass(frozen=True, slots=True)
class Grab:
    """One buffer as a camera delivered it, unchecked.

    image: shape (lines, width) or (lines, width, channels), any dtype, valid only until the camera's next `read()`;
    None when the source could not decode it (`fault` then says why).
    """

    image: np.ndarray | None
    coil: str
    sequence: int  # the camera's own counter; a jump of more than 1 means lost grabs
    first_line: int  # lines since the head of the coil
    lines: int  # lines of strip that passed during this grab, delivered or not
    encoder_count: int
    along_mm: float  # strip position of `first_line`, from the head of the coil
    mm_per_line: float
    captured_ns: int  # when the last line arrived, by the camera's `Clock`
    encoded: bool = True  # False: `along_mm` is computed from lines and pitch
    fault: Cause | None = None
    position_fault: PositionFault | None = None
    encoder_stop: int | None = None  # the count after the last line, where the camera reports it
    change_line: int | None = None  # its first line of a new coil, by a weld or a digital input
    counter: int | None = None  # what the encoder showed behind its last line, where it was placed by an encoder
    gap: StripGap | None = None  # what passed while the camera was away, of the first grab behind it


@dataclass(frozen=True, slots=True)
class Frame:
    """One stretch of strip on its way to a verdict, made by capture. Every line that passed is in exactly one `Frame`.

    pixels: read-only uint8 view (frame_lines, width) of a ring slot, valid until the slot is released; rows from
    `valid_lines` on are zero. None when nothing can be inspected (then `valid_lines` is 0).
    """

    pixels: np.ndarray | None
    slot: int | None  # ring slot of `pixels`, released by the stage that finishes the frame
    ordinal: int  # number of the frame in this run, from 0 without gaps; inference restores this order
    coil: str
    side: str
    camera: str
    sequence: int
    first_line: int
    lines: int  # lines of strip that this frame accounts for
    valid_lines: int  # how many of them, from the first, `pixels` shows
    encoder_count: int
    along_mm: float
    mm_per_line: float
    columns: AcrossMap  # where they lie across the strip
    captured_ns: int
    encoded: bool = True
    fault: Cause | None = None  # why `valid_lines` < `lines`
    position_fault: PositionFault | None = None
    source_coil: str = ""  # the source's own name of the coil
    head_line: int = 0  # line of the source's coil at which this coil begins
    between_coils: bool = False  # a command ended the coil, and none has started yet
    data: CoilData | None = None  # of the coil, as far as known now
    canary: bool = False  # no strip: known defects that the engines must find; it reaches no decision
    place: SourcePlace | None = None  # where a restart finds it
    picture: PictureHealth | None = None  # the picture's, in frames that were measured
    calibration: str = ""  # identity of the camera's calibration that was applied; "": none
    gap: StripGap | None = None  # of the first frame behind a gap, and of every frame that passed unseen in it

    @property
    def mm_per_px(self) -> float:
        """Return the mean scale across the camera's whole width."""
        return self.columns.mm_per_px


Ranges = tuple[tuple[int, int], ...]
"""Half-open ranges of columns or lines."""


@dataclass(frozen=True, slots=True)
class StripEdges:
    """The strip's columns [left_px, right_px) in a frame. Empty when no strip is in view.

    left_found, right_found: the edge is in view; otherwise the strip extends beyond the frame there.
    dark_columns, bright_columns: columns of the strip that are too dark, or blown out, to be judged. dark_lines,
    bright_lines: the same of lines, over the strip's whole width. dirty_columns: columns that show the camera, not the
    strip. All are half-open, ascending and disjoint. doubt: why defects are more easily missed in this frame, so that
    it is degraded at best; None: nothing is known that would make them so.
    """

    left_px: int
    right_px: int
    left_found: bool
    right_found: bool
    dark_columns: Ranges = ()
    bright_columns: Ranges = ()
    dark_lines: Ranges = ()
    bright_lines: Ranges = ()
    dirty_columns: Ranges = ()
    doubt: Cause | None = None

    @property
    def width_px(self) -> int:
        """Columns of strip in view."""
        return self.right_px - self.left_px


def extent(ranges: Ranges) -> int:
    """Return how many columns or lines disjoint ranges hold together."""
    return sum(stop - start for start, stop in ranges)
