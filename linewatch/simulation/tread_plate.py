"""Renders tread plate: strip with a raised pattern all over, which is no defect and looks like many."""

import cv2
import numpy as np
from numpy.typing import NDArray

from linewatch.simulation.measured import MeasuredLook
from linewatch.simulation.steel import BLOCK_LINES

_PATTERN_LINES = 1024


class TreadPlateLook:
    """Renders the plate of one coil, a pure function of (seed, line): measured steel with diamonds or with teardrops.

    Sizes as on the real plates at hand (their pixels count as 0.5 x 1 mm): diamonds 50 to 80 px wide and half a picture
    high, teardrops 30 to 45 px long in rows, lit from one side.
    """

    def __init__(self, seed: int, width: int) -> None:
        rng = np.random.default_rng([seed, 8])
        self._steel = MeasuredLook(seed, width)
        draw = _diamonds if rng.random() < 0.5 else _teardrops
        bars = cv2.GaussianBlur(draw(rng, _PATTERN_LINES, width), (0, 0), float(rng.uniform(1.2, 2.2)))
        slope = cv2.Sobel(bars, cv2.CV_32F, 1, 0) + float(rng.uniform(-1, 1)) * cv2.Sobel(bars, cv2.CV_32F, 0, 1)
        relief = float(rng.uniform(0.5, 0.9)) * slope / max(float(np.abs(slope).max()), 1e-3)
        self._relief = np.maximum(1 + relief - float(rng.uniform(0.05, 0.2)) * bars, 0.1).astype(np.float32)

    def block(self, index: int) -> NDArray[np.float32]:
        """Return the light from lines [index * 256, (index + 1) * 256): float32 (256, width), about 0..255."""
        first = index * BLOCK_LINES % _PATTERN_LINES
        return np.asarray(self._steel.block(index) * self._relief[first : first + BLOCK_LINES])

    def noise(self, index: int) -> NDArray[np.float32]:
        """Return black level and read noise of that block: float32 (256, width)."""
        return self._steel.noise(index)


def _diamonds(rng: np.random.Generator, lines: int, width: int) -> NDArray[np.float32]:
    """Return bars in two crossing directions: float32 (lines, width), 1 on a bar; whole pitches fit the lines."""
    canvas = np.zeros((lines, width), np.float32)
    pitch_x, pitch_y = float(rng.uniform(60, 90)), lines / int(rng.integers(6, 9))
    wide = int(rng.integers(5, 9))
    for row in range(-1, round(2 * lines / pitch_y) + 1):
        for column in range(-1, int(width / pitch_x) + 2):
            x, y = column * pitch_x, row * pitch_y / 2
            near, far = (0.08, 0.40) if row % 2 else (0.40, 0.08)  # closed above and below by turns
            for side in (-1, 1):
                start = int(x + side * near * pitch_x), int(y + 0.06 * pitch_y)
                end = int(x + side * far * pitch_x), int(y + 0.44 * pitch_y)
                cv2.line(canvas, start, end, 1.0, wide, cv2.LINE_AA)
    return canvas


def _teardrops(rng: np.random.Generator, lines: int, width: int) -> NDArray[np.float32]:
    """Return drops that lean to either side by turns: float32 (lines, width), 1 on a drop."""
    canvas = np.zeros((lines, width), np.float32)
    pitch_x, pitch_y = float(rng.uniform(55, 75)), lines / int(rng.integers(12, 17))
    long, wide = 0.30 * pitch_x, 0.09 * pitch_x
    for row in range(-1, round(lines / pitch_y) + 2):
        for column in range(-1, int(width / pitch_x) + 2):
            x, y = (column + 0.5 * (row % 2)) * pitch_x, row * pitch_y
            lean = 50.0 if (row + column) % 2 else -35.0
            cv2.ellipse(canvas, (int(x), int(y)), (int(long), int(wide)), lean, 0, 360, 1.0, -1, cv2.LINE_AA)
    return canvas
