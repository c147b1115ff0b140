"""Find marks that somebody drew across the strip, dark or bright, to a fraction of a line."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from linewatch.geometry.ranges import true_ranges

ZONES: Final = 16
"""Parts of the strip's width, each of which tells a mark's place on its own: a mark is never quite square."""
SEEN_IN: Final = 0.8
"""Share of the zones that must show a mark: a defect or a stain is narrower."""
LEAST_SCORE: Final = 8.0
"""How many times the strip's own roughness a mark must stand out by."""
_TREND_LINES = 129
_SKEW_LINES = 48
_LEAST_ROUGHNESS = 0.3  # gray levels: below it a mean over a zone is rounding


@dataclass(frozen=True, slots=True, eq=False)
class LengthMark:
    """A mark. lines: float64 (ZONES,), of its middle in each zone; NaN where the zone does not show it."""

    lines: np.ndarray


def find_marks(levels: np.ndarray) -> tuple[list[LengthMark], np.ndarray]:
    """Return the marks in mean levels, float64 (lines, ZONES), in order, and each line's score (lines,)."""
    contrast = levels - _trend(levels)
    roughness = np.maximum(1.4826 * np.median(np.abs(contrast), axis=0), _LEAST_ROUGHNESS)
    score = contrast / roughness
    least = int((1.0 - SEEN_IN) * ZONES)
    told = np.zeros(len(levels))
    for sign in (1.0, -1.0):
        reached = np.sort(_highest_near(sign * score, _SKEW_LINES), axis=1)[:, least]
        told = np.maximum(told, reached)
    marks = []
    for begin, stop in zip(*true_ranges(told >= LEAST_SCORE), strict=True):
        here = slice(int(begin), int(stop))
        sign = np.sign(np.sum(score[here] * (np.abs(score[here]) >= LEAST_SCORE)))
        lines = _middles(sign * contrast[here], LEAST_SCORE * roughness) + here.start
        if np.isfinite(lines).mean() >= SEEN_IN:
            marks.append(LengthMark(lines))
    return marks, told


def _middles(contrast: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Return the centre of gravity of the mark in each zone; NaN where it does not stand out."""
    peak = contrast.max(axis=0)
    weight = np.where(contrast > 0.3 * peak, contrast, 0.0)
    for zone, top in enumerate(contrast.argmax(axis=0).tolist()):  # only what hangs together with the peak
        empty = np.flatnonzero(weight[:, zone] == 0.0)
        weight[: (empty[empty < top].max(initial=-1)) + 1, zone] = 0.0
        weight[empty[empty > top].min(initial=len(weight)) :, zone] = 0.0
    lines = np.arange(len(contrast))[:, None] + 0.5
    middle = (weight * lines).sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-12)
    return np.where(peak >= least, middle, np.nan)


def _trend(levels: np.ndarray) -> np.ndarray:
    """Return the median of each line's neighbourhood, which follows the strip's brightness but not a mark."""
    reach = min(_TREND_LINES, len(levels) // 2 * 2 - 1) // 2
    padded = np.pad(levels, ((reach, reach), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0)
    step = max(1, reach // 8)  # medians are dear, and the trend is slow
    coarse = np.median(windows[::step], axis=-1)
    at, rows = np.arange(len(levels)), np.arange(len(levels))[::step]
    return np.column_stack([np.interp(at, rows, column) for column in coarse.T])


def _highest_near(score: np.ndarray, reach: int) -> np.ndarray:
    """Return the highest score within `reach` lines of each line."""
    padded = np.pad(score, ((reach, reach), (0, 0)), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0).max(axis=-1)
