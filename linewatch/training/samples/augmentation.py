"""The papers' augmentations: turns by 90 degrees, small rotations, shear, zoom, flips, shifts, noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Augmentation:
    """The limits of a random augmentation, which is done in one warp; the image is mirrored beyond its borders.

    right_angles: turn by a random multiple of 90 degrees (the image must be square). rotations_deg: rotate by one of
    these, in either direction. turn_deg: rotate by at most this angle. shear: at most this tangent. zoom, shift: at
    most this share of the side. flip_across, flip_along: mirror with probability 0.5. noise: standard deviation in gray
    levels.
    """

    right_angles: bool = False
    rotations_deg: tuple[float, ...] = ()
    turn_deg: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    flip_across: bool = False
    flip_along: bool = False
    noise: float = 0.0

    def __call__(self, gray: Pixels, rng: np.random.Generator, mask: Pixels | None = None) -> tuple[Pixels, Pixels]:
        """Return image and mask (lines, width), augmented alike (a mask of zeros without one); `rng` decides all."""
        mask = np.zeros_like(gray) if mask is None else mask
        if self.right_angles:
            turns = int(rng.integers(4))
            gray, mask = np.rot90(gray, turns), np.rot90(mask, turns)
        if self.flip_across and rng.random() < 0.5:
            gray, mask = gray[:, ::-1], mask[:, ::-1]
        if self.flip_along and rng.random() < 0.5:
            gray, mask = gray[::-1], mask[::-1]
        gray, mask = np.ascontiguousarray(gray), np.ascontiguousarray(mask)
        if self.rotations_deg or self.turn_deg or self.shear or self.zoom or self.shift:
            matrix, size = self._warp(gray.shape, rng), gray.shape[::-1]
            gray = _uint8(cv2.warpAffine(gray, matrix, size, borderMode=cv2.BORDER_REFLECT_101))
            mask = _uint8(
                cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
            )
        if self.noise:
            noisy = gray + self.noise * rng.standard_normal(gray.shape, np.float32)
            gray = noisy.clip(0, 255).astype(np.uint8)
        return gray, mask

    def _warp(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        turn = rng.uniform(-self.turn_deg, self.turn_deg)
        if self.rotations_deg:
            turn += float(rng.choice(self.rotations_deg)) * rng.choice([-1, 1])
        a, shear = np.radians(turn), rng.uniform(-self.shear, self.shear)
        zoom = 1 + rng.uniform(-self.zoom, self.zoom)
        linear = zoom * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) @ np.array([[1, shear], [0, 1]])
        size = np.array(shape[::-1], float)
        middle = (size - 1) / 2
        moved = middle + rng.uniform(-self.shift, self.shift, 2) * size
        return np.hstack([linear, (moved - linear @ middle)[:, None]])


def _uint8(pixels: NDArray) -> Pixels:
    return pixels.astype(np.uint8, copy=False)
