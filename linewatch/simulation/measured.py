"""Renders clean strip by statistics that were measured on real strip (experiments/eye/strip_statistics.py).

No pixel of it is real: each coil draws one vector of statistics from the Gaussian that was fitted to those of the real
frames, and Gaussian noise is shaped until it has them. The grain has the measured power in five bands of spatial
frequency and its lean along or across the strip (random phase, Galerne et al. 2011), then the measured skew and heavy
tails by a pointwise map; its depth varies along and across the strip. Over it lie bands along the rolling direction,
stains with smooth borders, and the lamp, which lights the lines of the real pictures unevenly.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from linewatch.simulation.steel import BLOCK_LINES, ring_of, smooth_field

FRAME_LINES = 256
"""Lines of a picture of the strip that was measured: its lamp lights them unevenly, every picture alike."""
BANDS: Final = (0.035, 0.075, 0.15, 0.275, 0.425)
"""Spatial frequencies, in cycles a pixel, at the middle of the bands whose power was measured."""
STATISTICS: Final = (
    "gray",  # logarithm of the mean gray level
    "lamp_slope",  # of the gray level over the lines of a picture, from -1 to 1, by its mean
    "lamp_bow",  # the same, times square less 1/3
    "bands",  # logarithm of the deviation of the columns' means, finer than 200 px
    "streaks",  # the same, finer than 16 px
    "grain",  # logarithm of the deviation from the mean around, by the gray level
    "power_1",  # logarithm of the power in each of BANDS by that in the third
    "power_2",
    "power_4",
    "power_5",
    "lean_1",  # logarithm of the power across by that along the strip, in the second to the fourth band
    "lean_2",
    "lean_3",
    "skew",  # of the grain, its inverse hyperbolic sine
    "tails",  # logarithm of the kurtosis of the grain
    "patchy",  # logarithm of the deviation of the logarithm of the grain's depth from place to place
    "clouds",  # logarithm of the deviation of the gray level at 16 to 64 px, without bands and lamp
)
_TABLE_LINES = 1024
_MOST_TAILS = 2.6  # of the logarithm: rarer values make specks that nothing else in the table goes with
_BLACK = 2.0  # gray levels

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class StripStatistics:
    """The Gaussian of STATISTICS over real strip. mean: float64 (n,). spread: float64 (n, n), lower triangular."""

    mean: Array
    spread: Array

    @classmethod
    @lru_cache(maxsize=1)
    def measured(cls) -> Self:
        """Return what was measured."""
        stored = json.loads(files(__package__).joinpath("measured.json").read_text())
        if tuple(stored["statistics"]) != STATISTICS:
            raise ValueError(f"measured.json is of {stored['statistics']}, expected {list(STATISTICS)}")
        return cls(np.array(stored["mean"]), np.array(stored["spread"]))

    def drawn(self, rng: np.random.Generator) -> dict[str, float]:
        """Return the statistics of one coil; no one lies farther out than two deviations of the factors behind it."""
        factors = rng.standard_normal(len(self.mean)).clip(-2, 2)
        return dict(zip(STATISTICS, (self.mean + self.spread @ factors).tolist(), strict=True))


class MeasuredLook:
    """Renders the steel of one coil, a pure function of (seed, line), like `SteelLook`."""

    def __init__(self, seed: int, width: int) -> None:
        rng = np.random.default_rng([seed, 6])
        self._seed, self._width = seed, width
        told = StripStatistics.measured().drawn(rng)
        shape = _TABLE_LINES, width
        gray = float(np.exp(np.clip(told["gray"], np.log(40), np.log(190))))
        bands = np.exp(told["bands"]) * _unit(smooth_field(rng, 256, width, (1.0, 60, 90), (0.5, 60, 25)))[0]
        bands += np.exp(told["streaks"]) * _unit(smooth_field(rng, 256, width, (1.0, 60, 2)))[0]
        depth = np.exp(np.exp(told["patchy"]) * _unit(smooth_field(rng, *shape, (1.0, 90, 35), (0.7, 25, 12))))
        table = np.exp(told["grain"]) * _grain(told, rng, shape) * (depth / np.sqrt((depth**2).mean()))
        table += np.exp(told["clouds"]) * _unit(smooth_field(rng, *shape, (1.0, 40, 14), (0.6, 12, 9)))
        table += _stains(rng, shape)
        self._table = ring_of((1 + table).astype(np.float32))
        place = np.linspace(-1, 1, FRAME_LINES)
        lamp = 1 + told["lamp_slope"] * place + told["lamp_bow"] * (place**2 - 1 / 3)
        self._lamp = np.tile(np.maximum(lamp, 0.2), 2).astype(np.float32)[:, None]
        self._columns = (gray * np.exp(bands)).astype(np.float32)
        self._noise = rng.normal(_BLACK, 1.0, (BLOCK_LINES, width)).astype(np.float32)

    def block(self, index: int) -> NDArray[np.float32]:
        """Return the light from lines [index * 256, (index + 1) * 256): float32 (256, width), about 0..255."""
        first = index * BLOCK_LINES
        # The table's mirror image follows the table, so that it repeats only after 2 x 1024 lines.
        turn, at = divmod(first, _TABLE_LINES)
        rows = self._table[at : at + BLOCK_LINES]
        rows = rows[:, ::-1] if turn % 2 else rows
        lamp = self._lamp[first % FRAME_LINES :][:BLOCK_LINES]
        return np.maximum(rows * self._columns * lamp, 0)

    def noise(self, index: int) -> NDArray[np.float32]:
        """Return black level and read noise of that block: float32 (256, width)."""
        shift = int(np.random.default_rng([self._seed, 7, index]).integers(self._width))
        return np.roll(self._noise, shift, axis=1)


def _grain(told: dict[str, float], rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Return noise of mean 0 and deviation 1 with the power, the lean, the skew and the tails of these statistics."""
    along = np.fft.fftfreq(shape[0])[:, None]
    across = np.fft.rfftfreq(shape[1])[None]
    frequency = np.hypot(along, across)
    frequency[0, 0] = 1.0
    at = np.log(frequency)
    power = [told["power_1"], told["power_2"], 0.0, told["power_4"], told["power_5"]]
    lean = [told["lean_1"], told["lean_1"], told["lean_2"], told["lean_3"], told["lean_3"]]
    response = np.exp(0.5 * np.interp(at, np.log(BANDS), power))
    turned = (across**2 - along**2) / frequency**2  # 1: across, -1: along
    response *= np.exp(0.25 * 1.25 * np.interp(at, np.log(BANDS), lean) * turned)
    response *= 1 - np.exp(-((frequency / 0.012) ** 2))  # slower changes are bands, clouds and the lamp
    field = _unit(np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * response, s=shape))
    # sinh-arcsinh (Jones and Pewsey 2009): heavy tails by what the depth leaves of the kurtosis, then the skew.
    tails = float(np.clip(told["tails"] - 2.0 * np.exp(2 * told["patchy"]), np.log(3.0), _MOST_TAILS))
    heavier = 1 - 0.28 * (tails - np.log(3.0))
    return _unit(np.sinh((np.arcsinh(field) + 0.22 * np.clip(told["skew"], -1.5, 2.0)) / max(heavier, 0.45)))


def _stains(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Return dark stains with smooth, sharp borders, long along the strip, which a third of the coils has."""
    if rng.random() > 0.35:
        return np.zeros(shape)
    where = _unit(smooth_field(rng, *shape, (1.0, 70, 9), (0.7, 160, 60), (0.25, 12, 3)))
    return -float(rng.uniform(0.08, 0.35)) * np.clip(4 * (where - rng.uniform(0.8, 2.2)), 0, 1)


def _unit(field: NDArray[np.floating]) -> Array:
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-9), np.float64)
