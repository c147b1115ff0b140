"""Contrast of defects: how dark or bright they are compared with the steel around them."""

from dataclasses import dataclass

import cv2
import numpy as np

from linewatch.contracts.frame import Frame, StripEdges
from linewatch.geometry.runs import places

AROUND_MM = 10.0
"""Width of the margin around a defect's box that is taken as surrounding steel, other defects excluded."""


@dataclass(frozen=True, slots=True)
class ContrastSums:
    """Sums of gray levels and counts of pixels, of a defect and of the steel around it. Sums of parts can be added."""

    inside: int = 0
    inside_px: int = 0
    around: int = 0
    around_px: int = 0

    def __add__(self, other: "ContrastSums") -> "ContrastSums":
        return ContrastSums(
            inside=self.inside + other.inside,
            inside_px=self.inside_px + other.inside_px,
            around=self.around + other.around,
            around_px=self.around_px + other.around_px,
        )

    @property
    def contrast(self) -> float | None:
        """Return mean gray minus that of the steel around, as a share of full scale, -1..1; None without any of it."""
        if not self.inside_px or not self.around_px:
            return None
        return (self.inside / self.inside_px - self.around / self.around_px) / 255


def contrast_sums(runs: np.ndarray, begins: np.ndarray, frame: Frame, edges: StripEdges | None) -> list[ContrastSums]:
    """Return the sums of each mask in one frame; empty sums where the frame has no pixels or no strip.

    runs: int32 (n, 3), mask after mask, none of them empty. begins: the index of each mask's first run.
    """
    if frame.pixels is None or edges is None or not len(begins):
        return [ContrastSums()] * len(begins)
    line, start, stop = runs.T
    x_reach, y_reach = round(AROUND_MM / frame.mm_per_px), round(AROUND_MM / frame.mm_per_line)
    x0 = np.maximum(np.minimum.reduceat(start, begins) - x_reach, edges.left_px)
    x1 = np.minimum(np.maximum.reduceat(stop, begins) + x_reach, edges.right_px)
    y0 = np.maximum(np.minimum.reduceat(line, begins) - y_reach, 0)
    y1 = np.minimum(np.maximum.reduceat(line, begins) + 1 + y_reach, frame.valid_lines)

    inside = places(runs, frame.pixels.shape[1])
    levels = frame.pixels.ravel()[inside]
    steel, mask = frame.pixels.copy(), np.zeros_like(frame.pixels)
    steel.ravel()[inside], mask.ravel()[inside] = 0, 1
    left, top = int(x0.min()), int(y0.min())  # only the boxes are read
    seen = slice(top, int(y1.max())), slice(left, int(x1.max()))
    gray_sums, mask_sums = _integral(steel[seen]), _integral(mask[seen])
    inside_px = np.add.reduceat(stop - start, begins, dtype=np.int64)
    x0, x1, y0, y1 = x0 - left, x1 - left, y0 - top, y1 - top
    sums = (
        np.add.reduceat(levels, np.cumsum(inside_px) - inside_px, dtype=np.int64),
        inside_px,
        _sums(gray_sums, x0, y0, x1, y1),
        (x1 - x0) * (y1 - y0) - _sums(mask_sums, x0, y0, x1, y1),
    )
    return [ContrastSums(*row) for row in np.stack(sums, axis=1).astype(np.int64).tolist()]


def _integral(image: np.ndarray) -> np.ndarray:
    """Return the exact integral image: whole numbers, in float64 where 32 bits may overflow."""
    return cv2.integral(image, sdepth=cv2.CV_32S if image.size * 255 < 2**31 else cv2.CV_64F)


def _sums(integral: np.ndarray, x0: np.ndarray, y0: np.ndarray, x1: np.ndarray, y1: np.ndarray) -> np.ndarray:
    return integral[y1, x1] - integral[y0, x1] - integral[y1, x0] + integral[y0, x0]
