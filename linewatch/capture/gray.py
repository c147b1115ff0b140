"""Whether an image can be inspected: 8-bit gray, as wide as the line says. One rule for admission and for folders."""

from typing import Final

import cv2
import numpy as np

from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Cause
from linewatch.pictures.reading import luma_of

CHROMA_TOLERANCE: Final = 4
"""A picture is gray while no colour channel is farther than this from another one, and no chroma sample from neutral,
in 8-bit levels. The encoders that OpenCV uses leave gray pictures within 1.
"""


def gray_of(image: np.ndarray, line: LineSettings) -> np.ndarray | Cause:
    """Return the image's gray values (lines, width), or why it cannot be inspected: DEPTH, COLOUR or WRONG_SIZE.

    A colour image whose channels are equal within `CHROMA_TOLERANCE` is gray: its luma, as in training. Alpha is
    ignored.
    """
    if image.dtype != np.uint8:
        return Cause.DEPTH
    gray = _luma(image) if image.ndim == 3 else image
    if gray is None:
        return Cause.COLOUR
    if gray.shape[1:] != (line.width_px,) or len(gray) > line.frame_lines:
        return Cause.WRONG_SIZE
    return gray


def _luma(image: np.ndarray) -> np.ndarray | None:
    """Return the luma of a gray image in a colour container; None where there is colour."""
    if image.shape[2] == 1 or not image.size:
        return image[..., 0]
    if image.shape[2] not in {3, 4}:
        return None
    blue, green, red = cv2.split(image)[:3]
    within = max(cv2.norm(blue, green, cv2.NORM_INF), cv2.norm(green, red, cv2.NORM_INF)) <= CHROMA_TOLERANCE
    return luma_of(image) if within else None
