"""Cuts defects out of real images, to blend them into a rendered strip."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from linewatch.contracts.errors import SourceError
from linewatch.pictures.reading import read_gray
from linewatch.simulation.defects import Stamp

_HOUSE_CLASS = {"inclusion": "inclusion", "patches": "patches", "scratches": "scratch"}
_SMALLEST_PX = 60
_RIM_PX = 6


@dataclass(frozen=True, slots=True)
class RealPatch:
    """A defect cut from a real image."""

    defect_class: str
    stamp: Stamp


def real_patches(neu: Path, names: Collection[str] | None = None) -> tuple[RealPatch, ...]:
    """Return every outlined defect in NEU's `masks/` that does not touch the border of its image in `images/`, by name.

    names: the file stems to use, to keep to one part of a split; None: all.
    Raises SourceError when the folder is missing or contains no defect.
    """
    masks = sorted((neu / "masks").glob("*.png"))
    patches: list[RealPatch] = []
    for path in masks:
        house_class = _HOUSE_CLASS.get(path.stem.rpartition("_")[0])
        if house_class is None or (names is not None and path.stem not in names):
            continue
        mask, beside = read_gray(path), neu / "images" / f"{path.stem}.jpg"
        image = read_gray(beside) if beside.is_file() else None
        if image is None or mask.shape != image.shape:
            raise SourceError(f"NEU mask {path} has no image of its size in {neu / 'images'}, expected one; restore it")
        patches.extend(RealPatch(house_class, stamp) for stamp in _cut(image, (mask > 0).astype(np.uint8)))
    if not patches:
        raise SourceError(
            f"{neu} contains no defects ({len(masks)} masks found), expected NEU's images/ and masks/; set the path"
        )
    return tuple(patches)


def _cut(image: np.ndarray, mask: np.ndarray) -> list[Stamp]:
    """Return a stamp for each outlined part that does not touch the image's border."""
    kernel = np.ones((2 * _RIM_PX - 1, 2 * _RIM_PX - 1), np.uint8)
    plain = image[cv2.dilate(mask, kernel) == 0]
    if plain.size < image.size // 10:
        return []
    steel = max(8.0, float(np.median(plain)))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    stamps = []
    for piece in range(1, count):
        left, top, width, lines, area = (int(value) for value in stats[piece])
        window = (slice(top - _RIM_PX, top + lines + _RIM_PX), slice(left - _RIM_PX, left + width + _RIM_PX))
        inside = min(top, left, image.shape[0] - top - lines, image.shape[1] - left - width) >= _RIM_PX
        if area < _SMALLEST_PX or not inside:
            continue
        own = (labels[window] == piece).astype(np.uint8)
        blend = cv2.GaussianBlur(cv2.dilate(own, np.ones((3, 3), np.uint8)).astype(np.float32), (0, 0), 1.5)
        gain = 1 + blend * (np.clip(image[window].astype(np.float32) / steel, 0.1, 3.0) - 1)
        stamps.append(Stamp(gain, np.zeros_like(gain), own))
    return stamps
