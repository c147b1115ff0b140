"""LZW as TIFF 6.0 (section 13) writes it: decoded with NumPy, and every code checked.

A hole in LZW data decodes to other pixels without an error; but its strings then have other lengths.
"""

import numpy as np

from linewatch.pictures.error import PictureError

_CLEAR, _END, _FIRST = 256, 257, 258
_MOST_CODES = 4096 - _FIRST + 2
_STARTS = np.array([0, 254, 766, 1790, _MOST_CODES])  # codes since a clear at which they get 9, 10, 11, 12 bits
_WIDTHS = np.repeat(np.array([9, 10, 11, 12], np.int32), np.diff(_STARTS))
_ENDS = np.cumsum(_WIDTHS, dtype=np.int32)  # in bits since the clear
_OFFSETS = _ENDS - _WIDTHS
_SHIFTS = 24 - _WIDTHS
_MASKS = (1 << _WIDTHS) - 1


def decoded(data: bytes, size: int, most: int) -> np.ndarray:
    """Return the bytes that LZW data stands for: `size` of them, or up to `most` where a writer filled it up.

    Raises PictureError when a code cannot be, for more bytes, and when none ends the data and it is not `size` bytes.
    """
    padded = np.frombuffer(data + b"\0\0\0\0", np.uint8).astype(np.int32)
    words = (padded[:-2] << 16) | (padded[1:-1] << 8) | padded[2:]  # 24 bits from each byte on
    bits, at, total = len(data) * 8, 0, 0
    parts: list[np.ndarray] = []
    while True:
        known = int(np.searchsorted(_ENDS, bits - at, side="right"))
        positions = _OFFSETS[:known] + at
        codes = (words[positions >> 3] >> (_SHIFTS[:known] - (positions & 7))) & _MASKS[:known]
        control = (codes | 1) == _END
        stop = int(control.argmax()) if control.any() else known
        parts.append(_strings(codes[:stop]))
        total += len(parts[-1])
        if total > most:
            raise PictureError("damaged LZW data: it holds more than its strip")
        if stop == known or codes[stop] == _END:
            break
        at += int(_OFFSETS[stop] + _WIDTHS[stop])
    strings = np.concatenate(parts)
    if stop == known and len(strings) != size:
        raise PictureError("damaged LZW data: it has no end")
    return strings


def _strings(codes: np.ndarray) -> np.ndarray:
    """Return what the codes between two clears stand for.

    Code 258 + k is the string of the k-th code and one byte more: the first of the next string. So it is a copy of
    bytes that stand earlier, and begins where the k-th string begins.
    """
    if not len(codes):
        return np.empty(0, np.uint8)
    numbers = np.arange(len(codes), dtype=np.int32)
    copies = codes >= _FIRST
    parents = np.where(copies, codes - _FIRST, numbers)
    if (copies & (parents >= numbers)).any():
        raise PictureError("damaged LZW data: a code comes before its string")
    lengths, root = copies.astype(np.int32), parents
    while (further := lengths[root]).any():  # pointer doubling: how many copies a string is away from a literal
        lengths += further
        root = root[root]
    lengths += 1
    ends = np.cumsum(lengths, dtype=np.int32)
    begins = ends - lengths
    source = np.arange(ends[-1], dtype=np.int32) - np.repeat(begins - begins[parents], lengths)
    while not np.array_equal(earlier := source[source], source):
        source = earlier
    literals = np.zeros(ends[-1], np.uint8)
    literals[begins[~copies]] = codes[~copies]
    return literals[source]
