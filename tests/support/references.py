"""References of a flat field, and the calibration of a camera that is made of them."""

from pathlib import Path

import numpy as np

from linewatch.calibration.flat_field.making import MadeFlatField, make_flat_field
from linewatch.calibration.keeping import keep_part
from linewatch.calibration.taking import Taken
from linewatch.contracts.frame import Grab

SERIAL = "17-4711"


def taken(level: np.ndarray | float, *, width: int = 200, lines: int = 64, pictures: int = 12, noise: float = 1.5,
          serial: str = SERIAL, seed: int = 0) -> Taken:  # fmt: skip
    """Pictures of a mean level, which may differ by column, line or picture (as it broadcasts), with noise."""
    rng = np.random.default_rng(seed)
    light = rng.normal(0, noise, (pictures, lines, width)) + level
    stacked = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    grab = Grab(None, "A", 0, 0, lines, 0, 0.0, 1.0, 0)
    return Taken(stacked, (grab,) * pictures, serial, "a recording")


def falloff(width: int, share: float = 0.5) -> np.ndarray:
    """The light of a line whose ends lack this share, float64 (width,)."""
    return 1 - share * np.linspace(-1, 1, width) ** 2


def flat_field_of(width: int = 200, lines: int = 64) -> MadeFlatField:
    """The flat field of a camera whose ends lack half of the light, and whose pixels answer unalike."""
    rng = np.random.default_rng(8)
    dark = np.abs(rng.normal(4, 1, width))
    bright = dark + 190 * falloff(width) * rng.normal(1, 0.01, width)
    return make_flat_field(
        taken(dark, width=width, lines=lines), taken(bright, width=width, lines=lines, seed=1), "tester"
    )


def keep_flat_field(folder: Path, serial: str = SERIAL, width: int = 200, lines: int = 64) -> Path:
    """Write the calibration of a camera with such a flat field."""
    return keep_part(folder, serial, "flat_field", flat_field_of(width, lines).part)
