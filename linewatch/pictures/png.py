"""PNG: every chunk carries a checksum, and all are compared."""

import zlib

import numpy as np

from linewatch.pictures import opencv
from linewatch.pictures.error import PictureError

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def decoded(data: bytes) -> np.ndarray:
    """Return the picture as it is stored, 8 or 16 bits, channels in the order B, G, R. Raises PictureError."""
    view, at = memoryview(data), len(SIGNATURE)
    while True:
        length = int.from_bytes(view[at : at + 4], "big")
        kind, end = bytes(view[at + 4 : at + 8]), at + 8 + length
        if end + 4 > len(data):
            raise PictureError("a PNG that is cut short")
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise PictureError(f"damaged PNG: the checksum of its chunk {kind.decode('latin-1')!r} is wrong")
        if kind == b"acTL":
            raise PictureError("an animated PNG, expected one picture a file")
        if kind == b"IEND":
            break
        at = end + 4
    return opencv.decoded(data, "PNG")


def exif(data: bytes) -> bytes | None:
    """Return the Exif block of a PNG; None without one."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"eXIf":
            return data[at + 8 : at + 8 + length]
        at += 12 + length
    return None
