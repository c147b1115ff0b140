"""JPEG: decoded so that damage to its entropy-coded data is an error.

OpenCV and Pillow decode damaged data to invented pixels: the decoder only warns. simplejpeg raises on those warnings.
"""

from collections.abc import Iterator

import numpy as np
import simplejpeg

from linewatch.contracts.frame import Cause
from linewatch.pictures.error import PictureError

SIGNATURE = b"\xff\xd8\xff"
_END = b"\xff\xd9"
_APP1, _SCAN, _HUFFMAN, _SEQUENTIAL = 0xE1, 0xDA, 0xC4, {0xC0, 0xC1}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_HOLE = 32
_MOST_PIXELS = 1 << 28
_NOT_READ = "Unsupported"  # begins turbojpeg's message on a kind of JPEG that it does not decode


def decoded(data: bytes) -> np.ndarray:
    """Return uint8 (lines, width), or (lines, width, 3) for a picture with colour channels, in the order B, G, R.

    Bytes behind the end marker do not matter. Raises PictureError when the data is damaged or cut short.
    """
    if _has_hole(data):
        raise PictureError("damaged JPEG data: a block of zeros")
    try:
        channels = _channels(data)
        return _pixels(data, channels)
    except ValueError as error:
        if (bits := _bits(data)) not in {8, None}:
            raise PictureError(f"a JPEG of {bits} bits a pixel, expected 8", Cause.DEPTH) from error
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
    for marker, begin, end in _segments(data):
        if marker == _APP1 and data.startswith(b"Exif\0\0", begin):
            return data[begin + 6 : end]
    return None


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker of each segment up to the first scan, and where its body begins and ends."""
    at = 2
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, at + 4, at + 2 + length
        if marker == _SCAN:
            return
        at += 2 + length


def _has_hole(data: bytes) -> bool:
    """Say whether a block of zeros lies in the data of a sequential JPEG, as a lost block of the file system leaves it.

    The decoder notices that most such data is too long or too short for the picture, but in one of fifty cases the
    lengths agree by chance. With the usual code tables 256 zero bits would be a block whose coefficients all are -1. A
    table whose shortest code ends a block gives such runs for flat steel, and says nothing.
    """
    sequential, shortest = False, []
    for marker, begin, end in _segments(data):
        sequential |= marker in _SEQUENTIAL
        if marker == _HUFFMAN:
            shortest += _first_ac_symbols(data[begin:end])
        if marker == _SCAN and sequential and shortest and all(symbol & 15 for symbol in shortest):
            hole = data.find(bytes(_HOLE), end)
            if hole < 0:
                return False
            stop = data.find(_END, end)
            return hole < stop and bool(data[hole:stop].strip(b"\0"))  # up to the end marker, zeros may fill it up
    return False


def _first_ac_symbols(body: bytes) -> list[int]:
    """Return the symbol of the code 00...0 of each AC table in a segment of Huffman tables (ITU-T T.81, B.2.4.2)."""
    found, at = [], 0
    while at + 17 < len(body):
        if body[at] >> 4:
            found.append(body[at + 17])
        at += 17 + sum(body[at + 1 : at + 17])
    return found


def _bits(data: bytes) -> int | None:
    """Return the bits of a sample by the frame header; None where there is none."""
    frames = (data[begin] for marker, begin, _ in _segments(data) if marker in _FRAMES and begin < len(data))
    return next(frames, None)


def _channels(data: bytes) -> str:
    lines, width, space, _ = simplejpeg.decode_jpeg_header(data)
    if lines * width > _MOST_PIXELS:  # a damaged header must not take all memory
        raise PictureError(f"a damaged JPEG: {width} x {lines} pixels")
    if space in {"CMYK", "YCCK"}:
        raise PictureError(f"a JPEG in {space}, expected gray", Cause.COLOUR)
    return "GRAY" if space.upper() == "GRAY" else "BGR"


def _pixels(data: bytes, channels: str) -> np.ndarray:
    pixels: np.ndarray = simplejpeg.decode_jpeg(data, channels, strict=True)
    return pixels[..., 0] if channels == "GRAY" else pixels


def _reason(error: ValueError) -> str:
    text = str(error).removeprefix("Corrupt JPEG data: ")
    return f"JPEG of a kind that is not read: {text}" if text.startswith(_NOT_READ) else f"damaged JPEG data: {text}"
