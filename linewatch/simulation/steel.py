"""Renders clean rolled steel as a line-scan camera sees it: fast, from tables that are computed once."""

import numpy as np

BLOCK_LINES = 256
_GRAIN_LINES = 1024  # both periods have no common factor: the texture repeats after 1.15 million lines
_MOTTLE_LINES = 1125
_BAND_LINES = 64  # illumination is interpolated between knots this far apart
_BAND_KNOTS = 256
_NOISE_SLACK = 512


class SteelLook:
    """Renders the steel of one coil, a pure function of (seed, line).

    It multiplies layers that real strip shows: illumination that falls off to the sides and drifts, broad and narrow
    bands along the rolling direction, grain elongated along it, short dark dashes and ragged streaks of scale.
    """

    def __init__(self, seed: int, width: int) -> None:
        rng = np.random.default_rng([seed, 0])
        self._seed = seed
        self._width = width
        self._light = _illumination(rng, width)
        self._grain = ring_of(1.0 + _grain(rng, width))
        self._mottle = ring_of(_mottle(rng, width))
        # Read noise is added, not multiplied: black stays nearly black, and yet no two grabs are equal.
        self._noise = rng.normal(2.5, 1.2, (BLOCK_LINES, width + _NOISE_SLACK)).astype(np.float32)

    def block(self, index: int) -> np.ndarray:
        """Return the light from lines [index * 256, (index + 1) * 256): float32 (256, width), about 0..255."""
        first = index * BLOCK_LINES
        out = self._grain[first % _GRAIN_LINES :][:BLOCK_LINES] + self._mottle[first % _MOTTLE_LINES :][:BLOCK_LINES]
        ramp = np.arange(_BAND_LINES, dtype=np.float32)[:, None] / _BAND_LINES
        for part in range(BLOCK_LINES // _BAND_LINES):
            knot = (first // _BAND_LINES + part) % _BAND_KNOTS
            here, there = self._light[knot], self._light[(knot + 1) % _BAND_KNOTS]
            out[part * _BAND_LINES : (part + 1) * _BAND_LINES] *= here + ramp * (there - here)
        return out

    def noise(self, index: int) -> np.ndarray:
        """Return black level and read noise of that block: float32 (256, width)."""
        shift = int(np.random.default_rng([self._seed, 1, index]).integers(_NOISE_SLACK))
        return self._noise[:, shift : shift + self._width]


def smooth_field(rng: np.random.Generator, lines: int, width: int, *layers: tuple[float, float, float]) -> np.ndarray:
    """Return Gaussian noise, periodic along the strip: a sum of `layers` (deviation, sigma along, sigma across)."""
    spectrum = np.fft.rfft2(rng.standard_normal((lines, width), dtype=np.float32))
    along = np.fft.fftfreq(lines).astype(np.float32)[:, None]
    across = np.fft.rfftfreq(width).astype(np.float32)[None]
    response = np.zeros(spectrum.shape, np.float32)
    for deviation, sigma_along, sigma_across in layers:
        shape = np.exp(-2 * np.pi**2 * ((sigma_along * along) ** 2 + (sigma_across * across) ** 2))
        shape[0, 0] = 0
        response += deviation / max(1e-9, float(np.sqrt((shape**2).mean()))) * shape
    return np.fft.irfft2(spectrum * response, s=(lines, width)).astype(np.float32)


def _grain(rng: np.random.Generator, width: int) -> np.ndarray:
    """Return fine texture, 5-10 % deep, elongated along the strip; on some coils with a skin pass's cross lines."""
    depth = float(rng.uniform(0.035, 0.07))
    ripple = float(rng.choice([0.0, 0.0, 0.0, 0.008]))
    return smooth_field(
        rng, _GRAIN_LINES, width, (depth, 0.45, 0.55), (depth * 0.4, 6, 0.8), (0.02, 2, 2), (ripple, 0.8, 25)
    )


def _mottle(rng: np.random.Generator, width: int) -> np.ndarray:
    """Return streaks, dashes and patches of scale: sparse, ragged, elongated along the strip."""
    shape = (_MOTTLE_LINES, width)
    streaks = smooth_field(
        rng, *shape, (float(rng.uniform(0.01, 0.02)), 60, 1.5), (float(rng.uniform(0.01, 0.025)), 40, 8)
    )
    clouds = smooth_field(
        rng, *shape, (float(rng.uniform(0.01, 0.05)), 45, 30), (float(rng.uniform(0.005, 0.02)), 9, 7)
    )
    where = smooth_field(rng, *shape, (1.0, 130, 60))
    rough = smooth_field(rng, *shape, (1.0, 30, 4), (0.5, 5, 1.5), (0.35, 1, 1))
    flakes = np.clip(3 * (rough + 1.2 * where - rng.uniform(2.5, 4.3)), 0, 1) * (1 + 0.3 * rough)
    dashes = np.clip(smooth_field(rng, *shape, (1.0, 7, 0.9)) + 0.5 * where - rng.uniform(3.0, 4.0), 0, 1.0)
    specks = np.clip(smooth_field(rng, *shape, (1.0, 0.8, 0.8)) + 0.5 * where - rng.uniform(3.4, 4.6), 0, 1.0)
    return streaks + clouds + float(rng.choice([-0.2, -0.12, 0.12])) * flakes - 0.45 * dashes + 1.2 * specks


def _illumination(rng: np.random.Generator, width: int) -> np.ndarray:
    """Return the gray level of plain steel at each knot: float32 (knots, width)."""
    place = np.linspace(-1, 1, width, dtype=np.float32) - rng.uniform(-0.3, 0.3)
    falloff = 1 - rng.uniform(0.1, 0.35) * place**2
    bands = smooth_field(rng, _BAND_KNOTS, width, (0.05, 12, width / 14), (0.03, 8, width / 100), (0.015, 4, 2))
    return (rng.uniform(70, 130) * falloff * (1 + bands)).astype(np.float32)


def ring_of(table: np.ndarray) -> np.ndarray:
    """Return the table with its first block repeated below, so that every block is one slice."""
    return np.concatenate([table, table[:BLOCK_LINES]])
