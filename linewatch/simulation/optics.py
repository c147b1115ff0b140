"""What light and lens do to a picture: fading light, a dead lamp segment, defocus, dirt. It grows along the strip."""

from typing import Annotated, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from linewatch.config.base import Settings

READ_NOISE = 1.0
"""Of the camera, in gray levels: less light leaves it as it is."""
_BORDER_PX = 60  # over which two lamp segments share the light


class OpticsSettings(Settings):
    """A fault of light or lens, which grows evenly from `from_m` to `to_m` of the strip and then stays."""

    from_m: float = Field(default=0.0, ge=0, description="where it begins")
    to_m: float = Field(default=0.0, ge=0, description="where it is complete; at from_m or before: at once")
    light: float = Field(default=1.0, ge=0, le=4, description="share of the light that is left")
    dead_px: Annotated[tuple[int, int], Field(strict=False)] | None = Field(
        default=None, description="columns, from and to, that one segment of the lamp lights"
    )
    dead_light: float = Field(default=0.1, ge=0, le=1, description="share of the light that is left there")
    blur_px: float = Field(default=0.0, ge=0, le=20, description="defocus: deviation of the spot of a point")
    dirt_px: Annotated[tuple[int, ...], Field(strict=False)] = Field(
        default=(), description="columns in whose middle dirt lies on the window of the camera"
    )
    dirt_width_px: float = Field(default=4.0, gt=0, le=200, description="deviation of the dirt's shadow across")
    dirt_depth: float = Field(default=0.5, ge=0, le=1, description="share of the light that the dirt takes")

    @model_validator(mode="after")
    def _segment_has_columns(self) -> Self:
        if self.dead_px is not None and not 0 <= self.dead_px[0] < self.dead_px[1]:
            raise ValueError(f"dead_px {list(self.dead_px)} holds no column; expected [from, to], ascending")
        return self

    def grown(self, at_m: float) -> float:
        """Return which share of the fault is there at this place of the strip: 0..1."""
        if at_m < self.from_m:
            return 0.0
        return 1.0 if self.to_m <= self.from_m else min(1.0, (at_m - self.from_m) / (self.to_m - self.from_m))


def seen_through(pixels: NDArray[np.uint8], optics: OpticsSettings, share: float, seed: int) -> NDArray[np.uint8]:
    """Return the picture as it looks when `share` of the fault is there: uint8 like `pixels`, in a new array.

    The light is taken before the camera's noise, of which `pixels` already have their share: what less light takes
    from it is added again. seed: of that noise.
    """
    if share <= 0:
        return pixels.copy()
    light = _light(optics, share, pixels.shape[1])
    out = pixels.astype(np.float32)
    if (blur_px := optics.blur_px * share) > 0:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), blur_px), np.float32)
    out *= light
    if optics.light != 1.0 or optics.dead_px is not None:
        lost = np.sqrt(np.maximum(0.0, 1.0 - np.square(light)), dtype=np.float32)
        out += np.random.default_rng(seed).normal(0, READ_NOISE, out.shape).astype(np.float32) * lost
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def _light(optics: OpticsSettings, share: float, width: int) -> NDArray[np.float32]:
    """Return which share of the light reaches each column: float32 (width,)."""
    column = np.arange(width, dtype=np.float32)
    light = np.full(width, 1.0 - share * (1.0 - optics.light), np.float32)
    if optics.dead_px is not None:
        first, stop = optics.dead_px
        inside = np.minimum(column - first, stop - column) / _BORDER_PX + 0.5
        light *= 1.0 - share * (1.0 - optics.dead_light) * np.clip(inside, 0, 1)
    for middle in optics.dirt_px:
        light *= 1.0 - share * optics.dirt_depth * np.exp(-np.square((column - middle) / optics.dirt_width_px) / 2)
    return light
