"""Measure one frame: light across, texture, the strip's edges, and each column."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from linewatch.config.capture import CaptureSettings
from linewatch.contracts.frame import StripEdges

ZONES = 16
"""Zones of equal width across the camera's view."""
EVERY_LINES = 8
MARGIN_PX = 32
"""Strip beside its edges that is left out: it is bent, and shaded."""
_SHIFT_PX = 4
_LEAST_ENERGY = 0.25  # squared gray levels; strip without any texture tells nothing of the lens
_EDGE_PX = 32
_STEEP_PX = 12
_LEAST_STEP = 15.0  # gray levels between strip and background


@dataclass(frozen=True, slots=True, eq=False)
class PictureSample:
    """One frame. None: it cannot be told of this frame.

    zones: float32 (ZONES,), mean gray level of the strip in each zone, NaN where not all of it is strip. saturation:
    share of the strip's pixels that are blown out. contrast: deviation of gray levels over 4 px by the level.
    sharpness: energy of the differences over 1 px by that over 4 px, median of the zones: about 0.5 of sharp strip,
    0.14 behind a blur of 1 px, whatever its level and contrast. edge_sharpness: the same of the steepest step at an
    edge of the strip. edges_px: its left and right edge. vibration_px: deviation of its edges from straight lines.
    columns: float32 (width,), mean gray level; changes: float32 (width,), mean absolute difference
    between neighbouring lines that were looked at. left_px, right_px: the columns that these two hold for. target: mean
    gray level of the target.
    """

    zones: NDArray[np.float32]
    saturation: float
    contrast: float | None
    sharpness: float | None
    edge_sharpness: float | None
    edges_px: tuple[int | None, int | None]
    vibration_px: float | None
    columns: NDArray[np.float32]
    changes: NDArray[np.float32]
    left_px: int
    right_px: int
    target: float | None


def measure(
    pixels: NDArray[np.uint8], edges: StripEdges, settings: CaptureSettings, target_px: tuple[int, int] | None
) -> PictureSample | None:
    """Measure `pixels`, uint8 (lines, width), valid lines only, whose strip is `edges`; None if too little is strip."""
    left = edges.left_px + MARGIN_PX * edges.left_found
    right = edges.right_px - MARGIN_PX * edges.right_found
    lines = np.ascontiguousarray(pixels[::EVERY_LINES])
    if len(lines) < 4 or right - left < 2 * MARGIN_PX:
        return None
    width = lines.shape[1]
    columns = _means(lines)
    changes = _means(np.asarray(cv2.absdiff(lines[1:], lines[:-1]), np.uint8))
    bounds = np.linspace(0, width, ZONES + 1).astype(np.intp)
    inside = (bounds[:-1] >= left) & (bounds[1:] <= right)
    zones = np.add.reduceat(columns, bounds[:-1]) / np.diff(bounds)
    steel = lines[:, left:right]
    level = float(columns[left:right].mean())
    contrast, sharpness = _texture(lines, bounds, inside, level)
    vibration_px, edge_sharpness = _edges(lines, edges, level)
    return PictureSample(
        zones=np.where(inside, zones, np.nan).astype(np.float32),
        saturation=float(np.count_nonzero(steel >= settings.bright_level)) / steel.size,
        contrast=contrast,
        sharpness=sharpness,
        edge_sharpness=edge_sharpness,
        edges_px=(edges.left_px if edges.left_found else None, edges.right_px if edges.right_found else None),
        vibration_px=vibration_px,
        columns=columns,
        changes=changes,
        left_px=left,
        right_px=right,
        target=None if target_px is None else float(columns[slice(*target_px)].mean()),
    )


def _means(lines: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cv2.reduce(lines, 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel(), np.float32)


def _texture(
    lines: NDArray[np.uint8], bounds: NDArray[np.intp], inside: NDArray[np.bool_], level: float
) -> tuple[float | None, float | None]:
    """Return contrast and sharpness, as medians of the zones that lie on the strip: a defect changes few of them."""
    if not inside.any():
        return None, None
    gray = lines.astype(np.float32)
    energies = []
    for shift in (1, _SHIFT_PX):
        step = gray[:, shift:] - gray[:, :-shift]
        squares = cv2.reduce(step * step, 0, cv2.REDUCE_AVG).ravel()
        energies.append((np.add.reduceat(squares, bounds[:-1]) / np.diff(bounds))[inside])
    fine, coarse = energies
    energy = float(np.median(coarse))
    sharpness = float(np.median(fine / np.maximum(coarse, _LEAST_ENERGY)))
    return float(np.sqrt(energy)) / max(level, 1.0), sharpness if energy >= _LEAST_ENERGY else None


def _edges(lines: NDArray[np.uint8], edges: StripEdges, level: float) -> tuple[float | None, float | None]:
    """Return the deviation of the strip's edges from straight lines, and how sharp they are."""
    places, sharpness = [], []
    for at, found, side in ((edges.left_px, edges.left_found, -1), (edges.right_px, edges.right_found, 1)):
        begin, stop = at - _EDGE_PX, at + _EDGE_PX
        if not found or begin < 0 or stop > lines.shape[1]:
            continue
        block = lines[:, begin:stop]
        steel = np.count_nonzero(block > level / 2, axis=1)
        places.append(at + side * (steel - _EDGE_PX).astype(np.float64))
        steep = block[:, _EDGE_PX - _STEEP_PX : _EDGE_PX + _STEEP_PX].astype(np.int16)
        step = np.abs(steep[:, _SHIFT_PX:] - steep[:, :-_SHIFT_PX]).max(axis=1)
        if np.median(step) >= _LEAST_STEP:
            one = np.abs(steep[:, 1:] - steep[:, :-1]).max(axis=1)
            sharpness.append(float(np.median(one / np.maximum(step, 1))))
    if not places:
        return None, None
    place = np.mean(places, axis=0)  # the strip moves both its edges, and a rough edge is one
    line = np.arange(len(place))
    straight = np.polyval(np.polyfit(line, place, 1), line)
    return float((place - straight).std()), max(sharpness, default=None)
