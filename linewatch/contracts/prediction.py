"""The output of inference for one frame, as arrays whose row i belongs to `tiles[i]`."""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from linewatch.contracts.frame import Cause, Frame, StripEdges
from linewatch.contracts.tile import Tile


@dataclass(slots=True)
class Timing:
    """When a frame left each stage, in monotonic nanoseconds; 0: it did not pass it. Differs between two runs."""

    captured_ns: int = 0
    queued_ns: int = 0
    screened_ns: int = 0
    predicted_ns: int = 0
    decided_ns: int = 0
    published_ns: int = 0  # handed to journal and socket
    published_unix_ns: int = 0  # the same moment, as the host's wall clock showed it


class Depth(IntEnum):
    """How far a frame was inspected; each depth includes those before it."""

    SCREENED = 1
    CLASSIFIED = 2
    SEGMENTED = 3


@dataclass(frozen=True, slots=True)
class Prediction:
    """Screen scores, class scores and masks of a frame's tiles.

    tiles: the inspection grid's tiles that touch the strip, left to right.
    screen_scores: float32 (len(tiles),), the screen's highest cell on the strip in each tile; 0..1.
    passed: bool (len(tiles),), the tiles that the screen passed on, or that an inspect engine finds suspicious.
    class_scores: float32 (passed.sum(), len(classes)), independent probabilities; row order as in `tiles[passed]`.
    probability: uint8 (passed.sum(), tile lines, tile width), probability of "defect" x 255; same row order. 0 in tiles
        whose class scores are all too low for segmentation. Valid until the frame's slot is released.
    maps: of an inspect engine, float32 (2 + len(classes), cell rows, cell columns) as `Task.INSPECT` says, the whole
        frame; 0 in all planes of a cell that no engine scored. None when a cascade inspected it, in a frame that failed
        and in one without strip. With maps, every passed tile is outlined: `screen_scores` come from plane 0; `passed`
        are the tiles in which a cell on the strip reaches the lowest level at which defects are looked for in plane 1
        (`DEFECT_LEVELS` of the manifest's threshold `defect`); `probability` is plane 1 at pixels, interpolated between
        the cells' centres; `class_scores` are the classes' shares in the tile's cells that reach that level, weighted
        by plane 1.
    scored_px: pixels of the strip that the engine that looks at every frame (screen or inspect) really scored: on valid
        lines, outside columns and lines that are too dark or blown out, in cells with a score in 0..1 (with maps: in
        every plane). 0 when the frame failed.
    degraded: why passed tiles were inspected only to `depth`, with zeros beyond it; None: they were inspected fully.
    failed: why the frame could not be inspected at all, so that its valid lines become `missed`; None: it could.
    lineup: serial of the line-up of engines that inspected it, whose thresholds apply.
    """

    frame: Frame
    edges: StripEdges | None
    tiles: tuple[Tile, ...]
    screen_scores: np.ndarray
    passed: np.ndarray
    class_scores: np.ndarray
    probability: np.ndarray
    classes: tuple[str, ...]
    engines: tuple[str, ...]  # identities of the engines that inspected this frame
    scored_px: int
    degraded: Cause | None = None
    depth: Depth = Depth.SEGMENTED
    failed: Cause | None = None
    lineup: int = 0
    maps: np.ndarray | None = None
    timing: Timing = field(default_factory=Timing)
