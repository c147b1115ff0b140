"""Orientation: a picture is turned as its Exif or TIFF tag says, wherever it is read."""

import io

import numpy as np

from linewatch.pictures import tiff
from linewatch.pictures.error import PictureError

UPRIGHT = 1


def orientation_of(exif: bytes | None) -> int:
    """Return the orientation, 1 to 8, that an Exif block gives; 1 where it gives none."""
    if exif is None:
        return UPRIGHT
    try:
        (first, *_), _ = tiff.directories(io.BytesIO(exif))
    except (PictureError, ValueError):
        return UPRIGHT
    return first.number(tiff.ORIENTATION, UPRIGHT)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return the picture turned and mirrored as the orientation says (TIFF 6.0, tag 274); a view where that is enough.

    An orientation that does not exist changes nothing.
    """
    if not UPRIGHT < orientation <= 8:
        return pixels
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    # Mirrored along the lines (2, 3, 6, 7), across them (3, 4, 7, 8).
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
