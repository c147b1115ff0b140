"""BMP: has no checksum; its size, and the absence of a block of zeros, tell whether it is whole."""

import numpy as np

from linewatch.pictures import opencv
from linewatch.pictures.error import PictureError
from linewatch.pictures.lost_block import has_lost_block

SIGNATURE = b"BM"
_UNCOMPRESSED = {0, 3}


def decoded(data: bytes) -> np.ndarray:
    """Return uint8 (lines, width), or (lines, width, channels) in the order B, G, R. Raises PictureError."""
    header = int.from_bytes(data[14:18], "little")
    if len(data) < 54 or header < 40:
        raise PictureError("a BMP that is cut short, or older than Windows 3")
    begin = int.from_bytes(data[10:14], "little")
    width, lines = (int.from_bytes(data[at : at + 4], "little", signed=True) for at in (18, 22))
    bits, compression = int.from_bytes(data[28:30], "little"), int.from_bytes(data[30:34], "little")
    if compression not in _UNCOMPRESSED:
        raise PictureError("a compressed BMP, in which damage cannot be seen; save it uncompressed")
    line_bytes = (width * bits + 31) // 32 * 4
    needed = begin + line_bytes * abs(lines)
    if len(data) < needed:
        raise PictureError(f"a BMP that is cut short: found {len(data)} bytes, its header says {needed}")
    if has_lost_block(data[begin:needed], line_bytes or 1, begin):
        raise PictureError("damaged BMP: a block of zeros")
    return opencv.decoded(data, "BMP")
