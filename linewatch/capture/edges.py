"""Find the strip in a frame, and the zones of it that are too dark or too bright to be judged."""

import cv2
import numpy as np

from linewatch.config.capture import CaptureSettings
from linewatch.contracts.frame import StripEdges

_EVERY_LINES = 4  # the mean of a column over a quarter of the lines is as good as over all lines
_GAP_PX = 8  # a few dark columns within steel do not divide it
_ZONE_PX = 64  # a defect darkens less than a zone of the strip over all lines of a frame; failing light does not
_BLOWN_OUT_SHARE = 0.5


def find_edges(pixels: np.ndarray, settings: CaptureSettings) -> StripEdges:
    """Find the strip in `pixels`, uint8 (lines, width), valid lines only. The edges are empty when there is no strip.

    Steel is where the mean of a column is above `edge_level`. The strip reaches from the first to the last stretch of
    steel of at least `edge_min_width_px`: a darker part between them is a stripe on the strip, and a narrower stretch
    beside it is a reflection.
    """
    if not pixels.size:
        return StripEdges(0, 0, False, False)
    width = pixels.shape[1]
    sample = pixels[::_EVERY_LINES]
    mean = cv2.reduce(sample, 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F)[0]
    steel = np.zeros(width + 2, bool)  # with a column of no steel on either side
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
    dark_px, bright_px = _unreadable_px(sample[:, left:right], mean[left:right], settings)
    return StripEdges(left, right, left > 0, right < width, dark_px, bright_px)


def _unreadable_px(strip: np.ndarray, mean: np.ndarray, settings: CaptureSettings) -> tuple[int, int]:
    """Return how many columns of the strip lie in zones that are too dark, and in zones that are blown out."""
    begins = np.arange(0, max(1, len(mean) - _ZONE_PX // 2), _ZONE_PX)  # the last zone takes what is left
    widths = np.diff(begins, append=len(mean))
    zone_mean = np.add.reduceat(mean, begins) / widths
    dark = zone_mean < settings.dark_level
    bright = np.zeros(len(begins), bool)
    if zone_mean.max() >= settings.bright_level * _BLOWN_OUT_SHARE:
        blown = cv2.reduce((strip >= settings.bright_level).view(np.uint8), 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0]
        bright = np.add.reduceat(blown, begins) > _BLOWN_OUT_SHARE * widths * len(strip)
    return int(widths[dark].sum()), int(widths[bright].sum())
