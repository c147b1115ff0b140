"""Finds where the steel is in a frame."""

import cv2
import numpy as np

from linewatch.config.capture import CaptureSettings
from linewatch.contracts.frame import StripEdges

_EVERY_LINES = 4  # a column's mean over a quarter of the lines is as good as over all
_GAP_PX = 8  # so few dark columns within steel do not divide it


def find_edges(pixels: np.ndarray, settings: CaptureSettings) -> StripEdges:
    """Return the edges of the strip in `pixels`, uint8 (lines, width), valid rows only; empty edges without a strip.

    A column is steel when its mean is above `edge_level`. The strip reaches from the first to the last run of steel
    columns that is at least `edge_min_width_px` wide: a dark run in between is a stripe on the strip, a narrower run
    beside it is a reflection.
    """
    if not pixels.size:
        return StripEdges(0, 0, False, False)
    width = pixels.shape[1]
    mean = cv2.reduce(pixels[::_EVERY_LINES], 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F)[0]
    steel = np.zeros(width + 2, bool)  # with a column of none on either side
    np.greater(mean, settings.edge_level, out=steel[1:-1])
    bounds = np.flatnonzero(steel[1:] != steel[:-1])
    starts, stops = bounds[::2], bounds[1::2]
    apart = starts[1:] - stops[:-1] > _GAP_PX
    starts = starts[np.concatenate([[True], apart])] if len(starts) else starts
    stops = stops[np.concatenate([apart, [True]])] if len(stops) else stops
    wide = stops - starts >= settings.edge_min_width_px
    if not wide.any():
        return StripEdges(0, 0, False, False)
    left, right = int(starts[wide][0]), int(stops[wide][-1])
    return StripEdges(left, right, left > 0, right < width)
