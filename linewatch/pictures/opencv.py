"""OpenCV's decoder for kinds of pictures whose data were found whole before."""

import cv2
import numpy as np

from linewatch.pictures.error import PictureError


def decoded(data: bytes, kind: str) -> np.ndarray:
    """Return the picture as it is stored, channels in the order B, G, R. Raises PictureError."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise PictureError(f"damaged {kind}: {error.err}") from error
    if pixels is None:
        raise PictureError(f"damaged {kind}")
    return pixels
