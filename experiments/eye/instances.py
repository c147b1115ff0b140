"""Instances found in a frame, with the features that the second stage uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from experiments.eye.judge import Corners, Found
from experiments.eye.maps import Maps
from linewatch.metrics.tiles import steel_columns
from linewatch.networks.inspect import FrameNetwork
from linewatch.training.samples.labelled_frames import CLASSES

LEVELS = (0.25, 0.12, 0.06)
"""Outline probabilities from which a cell may belong to a defect. A faint one is looked for at a lower level, where
nothing was found at a higher one: the second stage has the last word.
"""
LEAST_CELLS = 3
_CELL = FrameNetwork.OUTLINE_PX
_RING_PX = 12

FEATURES = (
    "peak",
    "mean",
    "mass",
    "solid",
    "area",
    "width",
    "lines",
    "aspect",
    "filled",
    "cut",
    "edge",
    "contrast",
    "darkness",
    "roughness",
    "screen",
    *CLASSES,
    "class_margin",
    "others",
    "others_mass",
    "nearest",
    "apart",
    "frame_mass",
    "prominence",
)
"""Names of `Instance.features`, in their order; `_described` says what each is."""


@dataclass(frozen=True)
class Instance:
    """A found defect with its likeliest class and its features, float64 (features,)."""

    found: Found
    features: NDArray[np.float64]


def find_instances(maps: Maps, gray: NDArray[np.uint8], levels: Sequence[float] = LEVELS) -> list[Instance]:
    """Return connected cells whose outline probability reaches a level, from the highest level down.

    An instance shares no cell with one that was found at a higher level.
    """
    where: list[NDArray[np.bool_]] = []
    taken = np.zeros(maps.outlines.shape[1:], bool)
    for level in levels:
        for cells in _connected(maps.outlines[0] >= level):
            if not taken[cells].any():
                where.append(cells)
        for cells in where:
            taken |= cells
    return list(_described(where, maps, gray))


def _connected(above: NDArray[np.bool_]) -> Iterator[NDArray[np.bool_]]:
    """Return the components, joining cells across a gap of one cell, as `[decision] merge_gap_mm` does."""
    joined = cv2.morphologyEx(np.pad(above.astype(np.uint8), 2), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    count, labels = cv2.connectedComponents(joined[2:-2, 2:-2], connectivity=8)
    for i in range(1, count):
        cells = (labels == i) & above
        if cells.sum() >= LEAST_CELLS:
            yield cells


def _described(where: Sequence[NDArray[np.bool_]], maps: Maps, gray: NDArray[np.uint8]) -> Iterator[Instance]:
    masses = np.array([maps.outlines[0][cells].sum() for cells in where])
    boxes = [_box(cells) for cells in where]
    middles = np.array([((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in boxes]).reshape(-1, 2)
    strip = np.flatnonzero(steel_columns(gray))
    for i, (cells, (x0, y0, x1, y1)) in enumerate(zip(where, boxes, strict=True)):
        outline = maps.outlines[0][cells]
        of_class = np.array([plane[cells].sum() for plane in maps.outlines[1:]]) / outline.sum()
        ranked = np.sort(of_class)
        area, width, lines = cells.sum(), x1 - x0, y1 - y0
        contrast, darkness, roughness = _relief(gray, cells, (x0, y0, x1, y1))
        apart = np.delete(np.hypot(*(middles - middles[i]).T), i)
        side = FrameNetwork.SCREEN_PX
        screen = maps.screen[y0 // side : -(-y1 // side), x0 // side : -(-x1 // side)]
        edge = min(x0 - strip[0], strip[-1] + 1 - x1) if len(strip) else 0
        features = [
            _logit(outline.max()),
            _logit(outline.mean()),
            np.log(masses[i]),
            (outline >= 0.5).mean(),
            np.log(area),
            np.log(width),
            np.log(lines),
            np.log(width / lines),
            area * _CELL**2 / (width * lines),
            float(y0 == 0) + float(y1 == gray.shape[0]),
            np.log1p(max(edge, 0)),
            contrast,
            darkness,
            roughness,
            _logit(screen.max()),
            *of_class,
            ranked[-1] - ranked[-2],
            np.log1p(len(where) - 1),
            np.log1p(masses.sum() - masses[i]),
            np.log1p(apart.min()) if len(apart) else np.log1p(gray.shape[1]),
            maps.apart[cells].mean(),
            np.log1p(maps.outlines[0].sum()),
            _logit(outline.mean()) - _logit(_around(cells, maps.outlines[0])),
        ]
        yield Instance(Found((x0, y0, x1, y1), int(of_class.argmax())), np.array(features, np.float64))


def _around(cells: NDArray[np.bool_], plane: NDArray[np.float32]) -> float:
    """Return the mean of the plane within three cells around the instance."""
    ring = (cv2.dilate(cells.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0) & ~cells
    return float(plane[ring].mean()) if ring.any() else 0.0


def _box(cells: NDArray[np.bool_]) -> Corners:
    rows, columns = np.flatnonzero(cells.any(1)), np.flatnonzero(cells.any(0))
    return tuple(int(at) * _CELL for at in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))  # type: ignore[return-value]


def _relief(gray: NDArray[np.uint8], cells: NDArray[np.bool_], box: Corners) -> tuple[float, float, float]:
    """Compare an instance with the ring of steel around it, in standard deviations of the ring.

    Return the absolute difference of the means, the difference with darker as positive, and the logarithm of the
    ratio of the spreads.
    """
    x0, y0, x1, y1 = box
    window = np.s_[max(0, y0 - _RING_PX) : y1 + _RING_PX, max(0, x0 - _RING_PX) : x1 + _RING_PX]
    inside = np.kron(cells, np.ones((_CELL, _CELL), bool))[window]
    here = gray[window].astype(np.float64)
    ring = here[~inside]
    if len(ring) < _RING_PX:
        return 0.0, 0.0, 0.0
    spread = ring.std() + 2.0
    below = (ring.mean() - here[inside].mean()) / spread
    return abs(below), below, float(np.log((here[inside].std() + 2.0) / spread))


def _logit(probability: float) -> float:
    bounded = np.clip(probability, 0.002, 0.998)
    return float(np.log(bounded / (1 - bounded)))
