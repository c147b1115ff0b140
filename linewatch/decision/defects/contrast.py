"""How dark or bright defects are beside the steel around them."""

from dataclasses import dataclass

import cv2
import numpy as np

from linewatch.contracts.frame import Frame, StripEdges
from linewatch.geometry.runs import places

AROUND_MM = 10.0
"""The steel beside a defect: so far from its box, where no other defect is."""


@dataclass(frozen=True, slots=True)
class Tone:
    """Sums of gray levels and of pixels, of a defect and of the steel around it; they add up over its parts."""

    inside: int = 0
    inside_px: int = 0
    around: int = 0
    around_px: int = 0

    def __add__(self, other: "Tone") -> "Tone":
        return Tone(
            inside=self.inside + other.inside,
            inside_px=self.inside_px + other.inside_px,
            around=self.around + other.around,
            around_px=self.around_px + other.around_px,
        )

    @property
    def contrast(self) -> float | None:
        """Mean gray less that of the steel around, of full scale, -1..1: dark is negative. None where none was seen."""
        if not self.inside_px or not self.around_px:
            return None
        return (self.inside / self.inside_px - self.around / self.around_px) / 255


def tones_of(runs: np.ndarray, begins: np.ndarray, frame: Frame, edges: StripEdges | None) -> list[Tone]:
    """Of masks in one frame, none of them empty, by their runs int32 (n, 3) and which of these each begins with. Tones
    that know nothing without pixels.
    """
    if frame.pixels is None or edges is None or not len(begins):
        return [Tone()] * len(begins)
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
    left, top = int(x0.min()), int(y0.min())  # nothing beyond the boxes is looked at
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
    return [Tone(*row) for row in np.stack(sums, axis=1).astype(np.int64).tolist()]


def _integral(image: np.ndarray) -> np.ndarray:
    """Exact: whole numbers, in float64 where they may be too large for 32 bits."""
    return cv2.integral(image, sdepth=cv2.CV_32S if image.size * 255 < 2**31 else cv2.CV_64F)


def _sums(integral: np.ndarray, x0: np.ndarray, y0: np.ndarray, x1: np.ndarray, y1: np.ndarray) -> np.ndarray:
    return integral[y1, x1] - integral[y0, x1] - integral[y1, x0] + integral[y0, x0]
