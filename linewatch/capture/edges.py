"""Find the strip in a frame, and the columns and lines of it that are too dark or too bright to be judged."""

import cv2
import numpy as np

from linewatch.config.capture import CaptureSettings
from linewatch.contracts.frame import Cause, Ranges, StripEdges
from linewatch.geometry.ranges import true_ranges

_EVERY_LINES = 4  # the mean of a column over a quarter of the lines is as good as over all lines
_GAP_PX = 8  # a few dark columns within steel do not divide it
_ZONE_PX = 64  # a defect darkens less than a zone of the strip over all lines of a frame; failing light does not
_BLOWN_OUT_SHARE = 0.5
_DIM_SHARE = 0.05  # of the strip's width; strip of which less is dim is inspected
_BLOWN_OUT_PIXELS = 0.2  # of all; with so many of them, one defect in six is no longer called
_CLIPPED_FROM = 200  # no camera's range ends below


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
    mean = _means(sample, axis=0)
    starts, stops = true_ranges(mean > settings.edge_level)
    apart = starts[1:] - stops[:-1] > _GAP_PX
    starts = starts[np.concatenate([[True], apart])] if len(starts) else starts
    stops = stops[np.concatenate([apart, [True]])] if len(stops) else stops
    wide = stops - starts >= settings.edge_min_width_px
    if not wide.any():
        return StripEdges(0, 0, False, False)
    left, right = int(starts[wide][0]), int(stops[wide][-1])
    strip, mean = sample[:, left:right], mean[left:right]
    dark_lines, bright_lines = _unreadable_lines(pixels[:, left:right], settings)
    if dark_lines or bright_lines:  # the columns are judged by the other lines
        lit = np.ones(len(pixels), bool)
        for start, stop in (*dark_lines, *bright_lines):
            lit[start:stop] = False
        if not lit.any():
            return StripEdges(left, right, left > 0, right < width, (), (), dark_lines, bright_lines)
        strip = np.ascontiguousarray(pixels[lit, left:right])
        mean = _means(strip, axis=0)
    dark, bright, doubt = _unreadable_columns(strip, mean, left, settings)
    return StripEdges(left, right, left > 0, right < width, dark, bright, dark_lines, bright_lines, doubt=doubt)


def _unreadable_columns(
    strip: np.ndarray, mean: np.ndarray, left_px: int, settings: CaptureSettings
) -> tuple[Ranges, Ranges, Cause | None]:
    """Return the frame's columns that lie in zones of the strip that are too dark, and in zones that are blown out.

    Also return why the others are doubtful: many are dim, or many of their pixels are blown out.
    """
    begins = np.arange(0, max(1, len(mean) - _ZONE_PX // 2), _ZONE_PX)  # the last zone takes what is left
    widths = np.diff(begins, append=len(mean))
    zone_mean = np.add.reduceat(mean, begins) / widths
    dark = zone_mean < settings.dark_level
    dim = ~dark & (zone_mean < settings.dim_level)
    doubt = Cause.DARK if dim.any() and dim @ widths > _DIM_SHARE * len(mean) else None
    bright = ~dark & (zone_mean >= settings.bright_level * _BLOWN_OUT_SHARE)
    if bright.any():
        blown = np.add.reduceat(_blown_out(strip, 0, settings), begins)
        bright &= blown > _BLOWN_OUT_SHARE * widths * len(strip)
        if blown[~bright].sum() > _BLOWN_OUT_PIXELS * len(strip) * widths[~bright].sum():
            doubt = doubt or Cause.BRIGHT
    if not (dark.any() or bright.any()):
        return (), (), doubt
    bounds = np.append(begins, len(mean)) + left_px
    return _ranges(dark, bounds), _ranges(bright, bounds), doubt


def _unreadable_lines(strip: np.ndarray, settings: CaptureSettings) -> tuple[Ranges, Ranges]:
    """Return the lines that are too dark over the strip's width, and those that are blown out.

    All are looked at: light that flickers at a multiple of the line rate darkens every second or fourth line.
    """
    mean = _means(strip, axis=1)
    dark = mean < settings.dark_level
    bright = ~dark & (mean >= settings.bright_level * _BLOWN_OUT_SHARE)
    if bright.any():
        bright &= _blown_out(strip, 1, settings) > _BLOWN_OUT_SHARE * strip.shape[1]
    if not (dark.any() or bright.any()):
        return (), ()
    bounds = np.arange(len(mean) + 1)
    return _ranges(dark, bounds), _ranges(bright, bounds)


def _means(pixels: np.ndarray, axis: int) -> np.ndarray:
    return cv2.reduce(pixels, axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel()


def _blown_out(strip: np.ndarray, axis: int, settings: CaptureSettings) -> np.ndarray:
    """Return how many pixels of each column (axis 0) or line (axis 1) are blown out: int32.

    A camera may clip below the brightest level there is: then its pixels are as bright as the brightest of the strip.
    """
    clipped = max(_CLIPPED_FROM, int(strip.max()))
    blown = (strip >= min(settings.bright_level, clipped)).view(np.uint8)
    return cv2.reduce(blown, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()


def _ranges(flags: np.ndarray, bounds: np.ndarray) -> Ranges:
    """Return the ranges between `bounds` whose flag is true, neighbours joined."""
    if not flags.any():
        return ()
    starts, stops = true_ranges(flags)
    return tuple(zip(bounds[starts].tolist(), bounds[stops].tolist(), strict=True))
