"""Choose the thresholds of the strip-edge finder from pictures of this camera's strip and what lies beside it."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from linewatch.calibration.keeping import now
from linewatch.calibration.taking import Taken
from linewatch.capture.edges import find_edges
from linewatch.config.calibration_part import Measured
from linewatch.config.capture import CaptureSettings
from linewatch.config.line_parts import EdgeThresholds
from linewatch.contracts.errors import SourceError
from linewatch.geometry.ranges import longest_range, true_ranges

LEAST_PICTURES: Final = 8
LEAST_SEPARATION: Final = 4.0
"""How many times their spreads strip and background must lie apart: then one column in thousands is taken wrongly."""
LEAST_BESIDE_PX: Final = 16
MOST_LEVEL: Final = 250.0
_BESIDE_EDGE_PX = 8
_RESAMPLES = 400


@dataclass(frozen=True, slots=True, eq=False)
class MadeEdges:
    """Thresholds and what their picture shows.

    picture: uint8 (lines, width). means: of the columns of each picture, (n, width). strip, background: levels of
    columns of each. found: (n, 2), left and right edge in each picture, NaN where it is out of view.
    """

    part: EdgeThresholds
    picture: np.ndarray
    means: np.ndarray
    strip: np.ndarray
    background: np.ndarray
    found: np.ndarray


def make_edges(taken: Taken, capture: CaptureSettings, by: str) -> MadeEdges:
    """Choose thresholds from pictures of strip that runs, with background in view beside it.

    Raises SourceError where no background or no strip is in view, where the background is as bright as the strip or
    brighter, or where the strip is blown out.
    """
    means = taken.pictures.mean(axis=1, dtype=np.float64)
    split = _otsu(means)
    sides = means[:, [*range(LEAST_BESIDE_PX), *range(-LEAST_BESIDE_PX, 0)]] > split
    if sides.all(axis=1).mean() > 0.5 and (means <= split).sum() > LEAST_BESIDE_PX * len(means):
        raise SourceError(
            f"{taken.origin}: both sides of the picture are brighter than its middle, expected strip that is brighter "
            "than what lies beside it; darken the background, or light the strip"
        )
    is_strip, is_background = _parts(means > split)
    if not is_strip.any() or is_background.sum() < LEAST_BESIDE_PX * len(means) * 0.5:
        beside = is_background.sum() / len(means)
        raise SourceError(
            f"{taken.origin}: {beside:.0f} columns of a picture lie beside the strip at levels below {split:.0f}, "
            f"expected {LEAST_BESIDE_PX} or more; take strip that is narrower than the view, on a dark background"
        )
    strip, background = means[is_strip], means[is_background]
    spread = float(strip.std() + background.std())
    apart = (float(strip.mean()) - float(background.mean())) / max(spread, 0.5)
    if apart < LEAST_SEPARATION:
        raise SourceError(
            f"{taken.origin}: strip at a level of {strip.mean():.1f} and background at {background.mean():.1f} lie "
            f"{apart:.1f} times their spread apart, expected {LEAST_SEPARATION:g} or more; darken what lies beside the "
            "strip, or bring some of it into view"
        )
    if strip.mean() > MOST_LEVEL:
        raise SourceError(
            f"{taken.origin}: the strip is blown out, at a level of {strip.mean():.0f}, expected {MOST_LEVEL:.0f} or "
            "less; lower the exposure, the gain or the light"
        )
    level = _between(background, strip)
    widths = is_strip.sum(axis=1)
    reflection_px = longest_range(~is_strip & ~_beside(is_strip) & (means > level))
    least_px = int(max(1, min(max(capture.edge_min_width_px, 2 * reflection_px), np.median(widths) // 4)))
    tried = capture.model_copy(update={"edge_level": level, "edge_min_width_px": least_px})
    found = np.array([_edges_in(picture, tried) for picture in taken.pictures])
    wrong = (background > level).sum() + (strip <= level).sum()
    steps = np.diff(found, axis=0)
    scatter = float(np.sqrt(np.nanmean(steps**2) / 2.0)) if np.isfinite(steps).any() else 0.0
    part = EdgeThresholds(
        made=now(),
        by=by,
        source=taken.origin[:500],
        width_px=means.shape[1],
        edge_level=level,
        edge_min_width_px=least_px,
        background_level=_level(means, is_background),
        strip_level=_level(means, is_strip),
        wrong_columns=round(float(wrong) / (strip.size + background.size), 6),
        edge_scatter_px=round(scatter, 3),
    )
    return MadeEdges(part, taken.pictures[len(taken.pictures) // 2], means, strip, background, found)


def _otsu(means: np.ndarray) -> float:
    """Return the level that divides the columns into the two classes that differ most (N. Otsu 1979)."""
    counts, bounds = np.histogram(means, bins=512, range=(0.0, 256.0))
    levels = (bounds[1:] + bounds[:-1]) / 2.0
    below, sums = np.cumsum(counts), np.cumsum(counts * levels)
    above, rest = below[-1] - below, sums[-1] - sums
    apart = np.divide(rest, above, out=np.zeros_like(sums), where=above > 0) - np.divide(
        sums, below, out=np.zeros_like(sums), where=below > 0
    )
    between = below * above * apart**2
    best = np.flatnonzero(between >= between.max() * (1.0 - 1e-12))  # the middle of an empty gap
    return float(bounds[1:][best].mean())


def _parts(bright: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which columns of each picture are strip, the longest bright stretch, and which lie well beside it."""
    strip, background = np.zeros_like(bright), np.zeros_like(bright)
    for number, row in enumerate(bright):
        begins, stops = true_ranges(row)
        if not len(begins):
            continue
        longest = int(np.argmax(stops - begins))
        left, right = int(begins[longest]), int(stops[longest])
        strip[number, left + _BESIDE_EDGE_PX : right - _BESIDE_EDGE_PX] = True
        background[number, : max(0, left - _BESIDE_EDGE_PX)] = True
        background[number, right + _BESIDE_EDGE_PX :] = True
    return strip, background & ~bright


def _beside(is_strip: np.ndarray) -> np.ndarray:
    """Return the columns at the strip's edges, which are neither."""
    beside = np.zeros_like(is_strip)
    for shift in range(1, 2 * _BESIDE_EDGE_PX + 1):
        beside[:, shift:] |= is_strip[:, :-shift]
        beside[:, :-shift] |= is_strip[:, shift:]
    return beside


def _between(background: np.ndarray, strip: np.ndarray) -> int:
    """Return the level that is as many times above the brightest background as it is below the darkest strip.

    So the light may rise or fall by the same factor before either is taken for the other.
    """
    dark, bright = float(np.percentile(background, 99.9)), float(np.percentile(strip, 0.1))
    if bright <= dark:
        dark, bright = float(background.mean()), float(strip.mean())
    return int(np.clip(round(np.sqrt(max(dark, 1.0) * bright)), 1, 254))


def _edges_in(picture: np.ndarray, capture: CaptureSettings) -> tuple[float, float]:
    edges = find_edges(picture, capture)
    left = float(edges.left_px) if edges.left_found else np.nan
    return left, float(edges.right_px) if edges.right_found else np.nan


def _level(means: np.ndarray, where: np.ndarray) -> Measured:
    """Return the mean level, with its standard deviation over bootstrap samples of the pictures."""
    each = np.array([row[here].mean() for row, here in zip(means, where, strict=True) if here.any()])
    sampled = np.random.default_rng(0).choice(each, (_RESAMPLES, len(each))).mean(axis=1)
    return Measured(value=round(float(each.mean()), 3), uncertainty=round(float(sampled.std()), 4))
