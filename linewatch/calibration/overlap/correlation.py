"""Correlate two pictures of which only parts may be known, at every shift at once.

Normalised cross-correlation with masks by Fourier transforms: D. Padfield, Masked object registration in the Fourier
domain, IEEE Transactions on Image Processing 21 (2012).
"""

from dataclasses import dataclass

import cv2
import numpy as np

_BROAD_PX = 24.0
_FINE_PX = 1.0  # finer than this, noise and pixels' own places count for more than the surface
_STRONGEST = 3.0
"""In standard deviations: a few strong spots shall not outweigh all the rest of the surface."""


@dataclass(frozen=True, slots=True, eq=False)
class Correlation:
    """The correlation at each shift, float64 (rows, columns), from `first_row` and `first_column` on.

    At a shift of (row, column), pixel (y, x) of the second picture lies at (y + row, x + column) of the first.
    strength: correlation times the square root of the shared pixels, over its scatter: how many times the noise it is.
    """

    values: np.ndarray
    strength: np.ndarray
    first_row: int
    first_column: int

    @property
    def peak(self) -> tuple[int, int]:
        """Index of the strongest shift."""
        row, column = np.unravel_index(int(np.argmax(self.strength)), self.strength.shape)
        return int(row), int(column)

    def strongest_beside(self, reach_rows: int, reach_columns: int) -> float:
        """Return the highest strength further than that from the peak: what a wrong place would reach."""
        row, column = self.peak
        rest = self.strength.copy()
        rest[
            max(0, row - reach_rows) : row + reach_rows + 1, max(0, column - reach_columns) : column + reach_columns + 1
        ] = 0
        return float(rest.max())

    def refined(self) -> tuple[float, float]:
        """Return the shift at the peak to a fraction of a pixel, from its neighbours each way."""
        row, column = self.peak
        rows, columns = self.values[:, column], self.values[row]
        return self.first_row + row + _vertex(rows, row), self.first_column + column + _vertex(columns, column)


def correlate(
    first: np.ndarray,
    first_known: np.ndarray,
    second: np.ndarray,
    second_known: np.ndarray,
    rows: tuple[int, int],
    columns: tuple[int, int],
    least_shared: int,
) -> Correlation:
    """Correlate two pictures, float32 (lines, width), where they are known, bool of the same shapes.

    rows, columns: the lowest and the highest shift that counts. Shifts at which fewer than `least_shared` known pixels
    meet count as 0.
    """
    size = [cv2.getOptimalDFTSize(one + other - 1) for one, other in zip(first.shape, second.shape, strict=True)]

    def spectrum(values: np.ndarray) -> np.ndarray:
        return np.fft.rfft2(values, size)

    one, known = spectrum(np.where(first_known, first, 0.0)), spectrum(first_known)
    square = spectrum(np.where(first_known, first, 0.0) ** 2)
    other, theirs = spectrum(np.where(second_known, second, 0.0)).conj(), spectrum(second_known).conj()
    other_square = spectrum(np.where(second_known, second, 0.0) ** 2).conj()

    row, column = np.arange(rows[0], rows[1] + 1), np.arange(columns[0], columns[1] + 1)
    here = np.ix_(row % size[0], column % size[1])

    def at_shifts(product: np.ndarray) -> np.ndarray:
        return np.fft.irfft2(product, size)[here]

    shared = np.rint(at_shifts(known * theirs))
    enough = shared >= max(1, least_shared)
    count = np.maximum(shared, 1.0)
    sums, other_sums = at_shifts(one * theirs), at_shifts(known * other)
    product = at_shifts(one * other) - sums * other_sums / count
    spread = at_shifts(square * theirs) - sums**2 / count
    other_spread = at_shifts(known * other_square) - other_sums**2 / count
    scale = np.sqrt(np.maximum(spread, 0.0) * np.maximum(other_spread, 0.0))
    values = np.where(enough & (scale > 1e-6 * count), product / np.maximum(scale, 1e-12), 0.0)
    weighted = values * np.sqrt(count)
    scatter = 1.4826 * float(np.median(np.abs(weighted[enough]))) if enough.any() else 0.0
    return Correlation(values.clip(-1.0, 1.0), weighted / max(scatter, 1.0), int(row[0]), int(column[0]))


def surface(picture: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return what is peculiar to each place: without the light's slow changes, fixed columns and strong spots."""
    weight = known.astype(np.float32)
    blurred = cv2.GaussianBlur(picture * weight, (0, 0), _BROAD_PX)
    share = cv2.GaussianBlur(weight, (0, 0), _BROAD_PX)
    fine = np.where(known, picture - blurred / np.maximum(share, 1e-6), 0.0)
    fine -= np.where(known, fine.sum(axis=0) / np.maximum(weight.sum(axis=0), 1.0), 0.0)
    spread = np.sqrt(cv2.GaussianBlur((fine * fine).astype(np.float32), (0, 0), _BROAD_PX) / np.maximum(share, 1e-6))
    even = np.where(known, fine / np.maximum(spread, 1e-3), 0.0).clip(-_STRONGEST, _STRONGEST)
    return cv2.GaussianBlur(even.astype(np.float32), (0, 0), _FINE_PX)


def _vertex(values: np.ndarray, at: int) -> float:
    if not 0 < at < len(values) - 1:
        return 0.0
    before, here, after = values[at - 1 : at + 2].tolist()
    if min(before, here, after) > 0.0:  # the peak of a surface that was blurred is a Gaussian's
        before, here, after = np.log((before, here, after)).tolist()
    bend = before - 2.0 * here + after
    return 0.0 if bend >= 0 else float(np.clip((before - after) / (2.0 * bend), -0.5, 0.5))
