"""Find the edges of a target's bars in a profile of gray levels, to a fraction of a pixel.

The target has dark and light bars of one width, all along the strip, and one dark bar that is three times as wide: the
index, whose middle is the target's zero. Its pitch is a dark and a light bar together.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from linewatch.contracts.errors import SourceError

LEAST_BAR_PX = 4.0
"""Narrower bars have no middle that shows how bright they are, and near two pixels they are aliased."""
LEAST_EDGES = 12
LEAST_SPAN = 0.8
"""Share of the camera line that the target must cover: beyond it the map would be a guess."""
LEAST_CONTRAST = 20.0
_UNEVEN = 0.3
"""Share of a bar's width by which edges may be off and still count as the next of the target."""
_NOMINAL = 0.25
"""Share by which bars may differ from what `mm_per_px` lets expect: more is the wrong pitch, or aliasing."""


@dataclass(frozen=True, slots=True, eq=False)
class BarEdges:
    """Edges of the target's bars. columns: float64 (n,), ascending. half_pitches: (n,), of each from the index.

    brightens: bool (n,), from dark to light. contrast: of the bars, in gray levels, its least along the target.
    """

    columns: np.ndarray
    half_pitches: np.ndarray
    brightens: np.ndarray
    contrast: float


def find_bars(profile: np.ndarray, bar_px: float, origin: str) -> BarEdges:
    """Return the edges of the bars in a profile, float64 (width,). bar_px: the width of a bar that is expected.

    Raises SourceError, with `origin` in its text, where the bars are too fine, there is no target or too little of it,
    its bars are uneven or of another width, or it has no index or several.
    """
    if bar_px < LEAST_BAR_PX:
        raise SourceError(
            f"{origin}: bars of this pitch are {bar_px:.1f} px wide by [line] mm_per_px, expected {LEAST_BAR_PX:g} px "
            "or more, as finer ones are aliased; take a target of a larger pitch"
        )
    low, high = _envelope(profile, bar_px)
    columns, brightens = _crossings(profile, (low + high) / 2.0, high - low)
    if len(columns) < LEAST_EDGES:
        raise SourceError(
            f"{origin}: no target found: {len(columns)} edges of bars with a contrast of {LEAST_CONTRAST:g} gray "
            f"levels or more, expected {LEAST_EDGES} or more; lay it under the camera, focus, and light it evenly"
        )
    narrow = float(np.median(columns[2:] - columns[:-2])) / 2.0  # as dark bars may be wider than light ones
    if narrow < LEAST_BAR_PX or abs(narrow / bar_px - 1.0) > _NOMINAL:
        raise SourceError(
            f"{origin}: the bars are {narrow:.1f} px wide, expected about {bar_px:.1f} px by --pitch-mm and [line] "
            "mm_per_px; correct the one that is wrong, or, if neither is, take a coarser target: this one is aliased"
        )
    columns, steps, brightens = _one_target(columns, brightens, narrow)
    if len(columns) < LEAST_EDGES or columns[-1] - columns[0] < LEAST_SPAN * len(profile):
        raise SourceError(
            f"{origin}: the target is seen with {len(columns)} edges from column {columns[0]:.0f} to {columns[-1]:.0f} "
            f"of {len(profile)}, expected {LEAST_EDGES} or more edges over {LEAST_SPAN:.0%} of the width; lay it over "
            "the whole view, flat, and wipe it"
        )
    places = np.concatenate([[0], np.cumsum(steps)])
    wide = np.flatnonzero((steps == 3) & ~brightens[:-1])
    if len(wide) != 1 or (steps != 1).sum() != 1:
        odd = ", ".join(f"{column:.0f}" for column in columns[np.flatnonzero(steps != 1)][:5]) or "none"
        raise SourceError(
            f"{origin}: found {len(wide)} index bars (dark, three bars wide; uneven places at columns: {odd}), "
            "expected 1; bring the index into view, and wipe the target"
        )
    columns = _refined(profile, columns)
    half_pitches = places - places[wide[0]] - 1.5
    contrast = float(np.min((high - low)[columns.astype(int)]))
    return BarEdges(columns, half_pitches, brightens, contrast)


def _envelope(profile: np.ndarray, bar_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the dark and the light level around each column, over a reach that holds the index and its neighbours."""
    reach = np.ones((1, 2 * round(2.2 * bar_px) + 1), np.uint8)
    row = profile.astype(np.float32)[None]
    smooth = (reach.shape[1], 1)
    low = cv2.blur(cv2.erode(row, reach, borderType=cv2.BORDER_REPLICATE), smooth, borderType=cv2.BORDER_REPLICATE)
    high = cv2.blur(cv2.dilate(row, reach, borderType=cv2.BORDER_REPLICATE), smooth, borderType=cv2.BORDER_REPLICATE)
    return low[0].astype(np.float64), high[0].astype(np.float64)


def _crossings(profile: np.ndarray, middle: np.ndarray, contrast: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the profile crosses its middle level, and whether it rises there; without ripples on a level."""
    above = profile - middle
    state, begin = 0, 0
    columns, rises = [], []
    for column, (value, least) in enumerate(zip(above.tolist(), (0.15 * contrast).tolist(), strict=True)):
        now = state if abs(value) < least or least < 0.15 * LEAST_CONTRAST else (1 if value > 0 else -1)
        if now != state:
            if state:
                crossed = np.flatnonzero(np.diff(np.sign(above[begin : column + 1])) != 0)
                at = begin + int(crossed[-1]) if len(crossed) else column - 1
                columns.append(at + 0.5 + above[at] / (above[at] - above[at + 1]))  # columns count from left sides
                rises.append(now > 0)
            state = now
        if now and abs(value) >= least:
            begin = column
    return np.array(columns), np.array(rises, bool)


def _one_target(columns: np.ndarray, brightens: np.ndarray, narrow: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the longest stretch of edges that lie an odd number of bars apart, and how many bars apart they are."""
    bars = np.diff(columns) / narrow
    steps = np.rint((bars - 1.0) / 2.0).astype(int) * 2 + 1
    fits = (steps >= 1) & (steps <= 3) & (np.abs(bars - steps) <= _UNEVEN * np.sqrt(steps))
    stops = np.append(np.flatnonzero(~fits), len(bars))
    starts = np.insert(stops[:-1] + 1, 0, 0)
    longest = int(np.argmax(stops - starts))
    here = slice(int(starts[longest]), int(stops[longest]) + 1)
    return columns[here], steps[here.start : here.stop - 1], brightens[here]


def _refined(profile: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return each edge from the light on both sides of it, which blur moves but does not change.

    From the middle of one bar to that of the next, the light that arrives is the edge's place times the first level
    and the rest times the second. It is exact for any symmetric blur (A. J. Tabatabai and O. R. Mitchell 1984).
    """
    total = np.insert(np.cumsum(profile), 0, 0.0)
    middles = (columns[1:] + columns[:-1]) / 2.0
    ends = np.concatenate([[2 * columns[0] - middles[0]], middles, [2 * columns[-1] - middles[-1]]])
    found = columns.copy()
    for number, column in enumerate(columns.tolist()):
        reach = min(column - ends[number], ends[number + 1] - column)
        left, right = round(column - reach), round(column + reach)
        left, right = max(left, 0), min(right, len(profile))
        flat = max(1, round(reach / 3.0))
        first = (total[min(left + flat, right)] - total[left]) / flat
        second = (total[right] - total[max(right - flat, left)]) / flat
        if abs(second - first) < 0.5 * LEAST_CONTRAST:
            continue
        light = total[right] - total[left]
        found[number] = np.clip(right - (light - first * (right - left)) / (second - first), column - 1.5, column + 1.5)
    return found
