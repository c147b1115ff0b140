"""Columns that show the camera, not the strip: dirt on the lens or its window, and dead pixels."""

from collections import deque
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from linewatch.capture.picture.measure import PictureSample
from linewatch.contracts.frame import Ranges
from linewatch.geometry.ranges import true_ranges

COILS = 3
"""Strip has stripes, too, but no two coils have the same. After so many coils, dirt is not inspected any more."""
COILS_TOLD = 2
"""Dirt is told after so many coils: strip that is missed by mistake costs more than a look at the lens."""
LEAST_SAMPLES = 16
_AROUND_PX = 129
_BESIDE_PX = 4  # beside such a column that an engine's cell shares with it
_UNCHANGED = 0.25  # of the changes around it
_LEAST_CHANGE = 0.5  # gray levels; strip that does not change by more tells nothing


class FixedColumns:
    """Follows the columns' levels beside those around them, coil by coil, and how much each changes from line to line.

    A column is fixed when it was darker, or brighter, than those around it by `depth` on each of the last three coils,
    or when it hardly changed in the last frames that were measured while those around it did. `columns` are these.
    `told` are also those that were so by `told_depth` on the last two coils: dirt that an engine still sees through.
    """

    def __init__(self, width_px: int, depth: float, told_depth: float) -> None:
        self._depth, self._told_depth = depth, min(told_depth, depth)
        self._coil = ""
        self._before: deque[NDArray[np.float32]] = deque(maxlen=COILS - 1)
        self._sum, self._seen = np.zeros(width_px, np.float32), np.zeros(width_px, np.int32)
        self._still = np.zeros(width_px, np.int32)  # samples in a row in which the column hardly changed
        self._dirt: NDArray[np.bool_] = np.zeros(width_px, bool)  # as of the newest coil that was seen for long enough
        self._faint: NDArray[np.bool_] = np.zeros(width_px, bool)  # the same, of the columns that are only told
        self.columns: Ranges = ()
        self.told: Ranges = ()

    @property
    def count(self) -> int:
        """How many columns are told, with those beside them."""
        return sum(stop - start for start, stop in self.told)

    def add(self, sample: PictureSample, coil: str) -> None:
        """Count a frame of this coil."""
        if coil != self._coil:
            if self._seen.max(initial=0) >= LEAST_SAMPLES:
                self._before.append(self._pattern())
            self._coil = coil
            self._sum[:], self._seen[:] = 0, 0
        inside = slice(sample.left_px, sample.right_px)
        self._sum[inside] += _beside(sample.columns[inside])
        self._seen[inside] += 1
        around, still = _around(sample.changes[inside]), self._still[inside]
        still += 1
        still[(sample.changes[inside] >= _UNCHANGED * around) | (around < _LEAST_CHANGE)] = 0
        self._judge()
        fixed = self._dirt | (self._still >= LEAST_SAMPLES)
        self.columns, self.told = _ranges(fixed), _ranges(fixed | self._faint)

    def _pattern(self) -> NDArray[np.float32]:
        """Return each column's level by those around it, less 1, on this coil; NaN where too little was seen."""
        pattern = np.asarray(self._sum / np.maximum(self._seen, 1), np.float32)
        pattern[self._seen < LEAST_SAMPLES] = np.nan
        return pattern

    def _judge(self) -> None:
        if self._seen.max(initial=0) < LEAST_SAMPLES:
            return
        patterns = [*self._before, self._pattern()]
        if len(patterns) >= COILS_TOLD:
            self._faint = _alike(patterns[-COILS_TOLD:], self._told_depth)
        if len(patterns) == COILS:
            self._dirt = _alike(patterns, self._depth)


def _alike(patterns: Sequence[NDArray[np.float32]], depth: float) -> NDArray[np.bool_]:
    """Return which columns are darker in all patterns, or brighter in all, by `depth`."""
    stacked = np.stack(patterns)
    return np.asarray((stacked < -depth).all(axis=0) | (stacked > depth).all(axis=0), bool)


def _ranges(columns: NDArray[np.bool_]) -> Ranges:
    """Return where these columns are, with those beside them."""
    if not columns.any():
        return ()
    wide = cv2.dilate(columns.view(np.uint8)[None], np.ones((1, 2 * _BESIDE_PX + 1), np.uint8)).ravel()
    begins, stops = true_ranges(wide)
    return tuple(zip(begins.tolist(), stops.tolist(), strict=True))


def _around(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.blur(values[None], (_AROUND_PX, 1), borderType=cv2.BORDER_REFLECT).ravel(), np.float32)


def _beside(columns: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(columns / np.maximum(_around(columns), 1.0) - 1.0, np.float32)
