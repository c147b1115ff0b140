"""Whether an image can be inspected: 8-bit gray, as wide as the line says. One rule for admission and for folders."""

import cv2
import numpy as np

from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Cause


def gray_of(image: np.ndarray, line: LineSettings) -> np.ndarray | Cause:
    """Return the image's gray values (lines, width), or why it cannot be inspected: DEPTH, COLOUR or WRONG_SIZE."""
    if image.dtype != np.uint8:
        return Cause.DEPTH
    if image.ndim == 3 and not _is_gray(image):
        return Cause.COLOUR
    gray = image[..., 0] if image.ndim == 3 else image
    if gray.shape[1:] != (line.width_px,) or len(gray) > line.frame_lines:
        return Cause.WRONG_SIZE
    return gray


def _is_gray(image: np.ndarray) -> bool:
    """Say whether all colour channels are equal: a gray image in a colour container (alpha is ignored)."""
    if image.shape[2] == 1 or not image.size:
        return True
    if image.shape[2] not in {3, 4}:
        return False
    blue, green, red = cv2.split(image)[:3]
    return np.array_equal(blue, green) and np.array_equal(green, red)
