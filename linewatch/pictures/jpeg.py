"""JPEG: decoded so that damage to its entropy-coded data is an error.

OpenCV and Pillow decode damaged data to invented pixels: the decoder only warns. simplejpeg raises on those warnings.
"""

import numpy as np
import simplejpeg

from linewatch.contracts.frame import Cause
from linewatch.pictures.error import PictureError

SIGNATURE = b"\xff\xd8\xff"
_END = b"\xff\xd9"
_NOT_READ = "Unsupported"  # begins turbojpeg's message on a kind of JPEG that it does not decode


def decoded(data: bytes) -> np.ndarray:
    """Return uint8 (lines, width), or (lines, width, 3) for a picture with colour channels, in the order B, G, R.

    Bytes behind the end marker do not matter. Raises PictureError when the data is damaged or cut short.
    """
    try:
        channels = _channels(data)
        return _pixels(data, channels)
    except ValueError as error:
        if "extraneous bytes before marker 0xd9" not in str(error):
            raise PictureError(_reason(error)) from error
    # Some cameras fill their data up to a multiple of 4 or 512 bytes with zeros before the end marker. A hole at the
    # same place leaves data that ends too early.
    end = data.rfind(_END)
    filled = data[:end].rstrip(b"\0")
    if filled.endswith(b"\xff"):
        filled += b"\0"  # it belongs to the data: FF is written as FF 00
    if len(filled) == end:
        raise PictureError("damaged JPEG data: bytes are left over behind the last line")
    try:
        return _pixels(filled + _END, channels)
    except ValueError as error:
        raise PictureError(_reason(error)) from error


def exif(data: bytes) -> bytes | None:
    """Return the Exif block of a JPEG, which has the structure of a TIFF file; None without one."""
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] not in {b"\xda", b"\xd9", b""}:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            return data[at + 10 : at + 2 + length]
        at += 2 + length
    return None


def _channels(data: bytes) -> str:
    space = simplejpeg.decode_jpeg_header(data)[2]
    if space in {"CMYK", "YCCK"}:
        raise PictureError(f"a JPEG in {space}, expected gray", Cause.COLOUR)
    return "GRAY" if space.upper() == "GRAY" else "BGR"


def _pixels(data: bytes, channels: str) -> np.ndarray:
    pixels: np.ndarray = simplejpeg.decode_jpeg(data, channels, strict=True)
    return pixels[..., 0] if channels == "GRAY" else pixels


def _reason(error: ValueError) -> str:
    text = str(error).removeprefix("Corrupt JPEG data: ")
    return f"JPEG of a kind that is not read: {text}" if text.startswith(_NOT_READ) else f"damaged JPEG data: {text}"
