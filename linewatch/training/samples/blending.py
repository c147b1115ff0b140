"""Blending of real defects into real clean strip, since clean strip is plentiful and labelled defects are scarce.

A defect is copied as relief: its gray relative to the steel around it, applied to the host's own local gray through a
feathered mask. So exposure and illumination are the host's and no seam is visible that the network could learn (after
the cut-paste of Dwibedi et al. 2017, arXiv:1708.01642; cheaper than Poisson blending, Perez et al. 2003, and without
its colour bleeding).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from linewatch.metrics.tiles import steel_columns

MARGIN_PX = 12


@dataclass(frozen=True, slots=True)
class Donor:
    """A defect cut out with a margin: relief float32 (1: like the steel around it), mask bool of the same shape."""

    relief: NDArray[np.float32]
    mask: NDArray[np.bool_]


def donors(image: NDArray[np.uint8], mask: NDArray[Any], least_px: int = 40, longest_px: int = 400) -> list[Donor]:
    """Return the connected defects of `mask` (nonzero) of at least `least_px` pixels and no side over `longest_px`."""
    count, labels, boxes, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8))
    found = []
    for i in range(1, count):
        x, y, w, h, area = boxes[i]
        if area < least_px or max(w, h) > longest_px:
            continue
        window = np.s_[max(0, y - MARGIN_PX) : y + h + MARGIN_PX, max(0, x - MARGIN_PX) : x + w + MARGIN_PX]
        beside = image[window][mask[window] == 0]
        level = float(np.median(beside)) if beside.size > least_px else 0.0
        if level > 20:
            found.append(Donor((image[window] / np.float32(level)).astype(np.float32), labels[window] == i))
    return found


def lay(image: NDArray[np.uint8], mask: NDArray[np.uint8], donor: Donor, x: int, y: int) -> None:
    """Blend `donor` into `image` in place, its top left corner at (x, y), and set `mask` to 1; it must lie inside."""
    h, w = donor.mask.shape
    window = np.s_[y : y + h, x : x + w]
    weight = cv2.GaussianBlur(cv2.dilate(donor.mask.astype(np.float32), np.ones((5, 5))), (0, 0), 2.5)
    host = image[window].astype(np.float32)
    ground = cv2.blur(host, (31, 31))
    blended = host + weight * (ground * donor.relief - host)
    image[window] = blended.clip(0, 255).astype(np.uint8)
    mask[window][donor.mask] = 1


@dataclass(frozen=True)
class Blender:
    """Blends up to `most` random donors into a frame, scaled by exp(+-zoom) and mirrored, on steel without defects."""

    donors: tuple[Donor, ...]
    most: int = 3
    zoom: float = 0.4

    @classmethod
    def of(cls, images: Iterable[tuple[NDArray[np.uint8], NDArray[np.generic]]], most: int = 3) -> Blender:
        """Take the donors from pairs of image and mask."""
        return cls(tuple(donor for image, mask in images for donor in donors(image, mask)), most)

    def __call__(
        self, image: NDArray[np.uint8], mask: NDArray[np.uint8], rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return a new image and mask (lines, width); the arguments are not changed."""
        image, mask = image.copy(), mask.copy()
        steel = np.flatnonzero(steel_columns(image))
        if not self.donors or not len(steel):
            return image, mask
        for _ in range(rng.integers(1, self.most + 1)):
            donor = self._varied(self.donors[rng.integers(len(self.donors))], rng)
            h, w = donor.mask.shape
            x, y = int(rng.choice(steel)) - w // 2, int(rng.integers(0, max(1, image.shape[0] - h + 1)))
            inside = h <= image.shape[0] and steel[0] <= x and x + w <= steel[-1] + 1
            if inside and not mask[y : y + h, x : x + w].any():
                lay(image, mask, donor, x, y)
        return image, mask

    def _varied(self, donor: Donor, rng: np.random.Generator) -> Donor:
        scale = np.exp(rng.uniform(-self.zoom, self.zoom))
        size = tuple(max(4, round(side * scale)) for side in donor.mask.shape[::-1])
        relief = cv2.resize(donor.relief, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        shape = cv2.resize(donor.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        relief = 1 + (relief - 1) * np.float32(rng.uniform(0.7, 1.2))
        if rng.random() < 0.5:
            relief, shape = relief[:, ::-1], shape[:, ::-1]
        if rng.random() < 0.5:
            relief, shape = relief[::-1], shape[::-1]
        return Donor(np.ascontiguousarray(relief), np.ascontiguousarray(shape))
