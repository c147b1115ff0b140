"""LZW as TIFF 6.0 (section 13) writes it: decoded with NumPy, and every code checked.

A hole in LZW data decodes to other pixels without an error; but its strings then have other lengths.
"""

from itertools import pairwise

import numpy as np

from linewatch.pictures.error import PictureError

_CLEAR, _END, _FIRST = 256, 257, 258
_MOST_CODES = 4096 - _FIRST + 2
_STARTS = np.array([0, 254, 766, 1790, _MOST_CODES])  # codes since a clear at which they get 9, 10, 11, 12 bits
_WIDTHS = np.concatenate([np.full(b - a, 9 + n) for n, (a, b) in enumerate(pairwise(_STARTS.tolist()))])
_OFFSETS = np.concatenate([[0], np.cumsum(_WIDTHS)])[:-1]


def decoded(data: bytes, size: int) -> np.ndarray:
    """Return the bytes that LZW data stands for, `size` of them where the data is whole.

    Raises PictureError when a code cannot be, and when none ends the data and it does not hold `size` bytes.
    """
    padded = np.frombuffer(data + b"\0\0\0\0", np.uint8).astype(np.uint32)
    bits, at = len(data) * 8, 0
    parts = []
    while True:
        positions = at + _OFFSETS
        known = int(np.searchsorted(positions + _WIDTHS, bits, side="right"))
        codes = _codes(padded, positions[:known], _WIDTHS[:known])
        stops = np.flatnonzero((codes == _CLEAR) | (codes == _END))
        stop = int(stops[0]) if len(stops) else known
        if stop:
            parts.append(_strings(codes[:stop]))
        if not len(stops) and sum(map(len, parts)) != size:
            raise PictureError("damaged LZW data: it has no end")
        if not len(stops) or codes[stop] == _END:
            return np.concatenate(parts) if parts else np.empty(0, np.uint8)
        at += int(_OFFSETS[stop] + _WIDTHS[stop])


def _codes(padded: np.ndarray, positions: np.ndarray, widths: np.ndarray) -> np.ndarray:
    first = positions >> 3
    three = (padded[first] << 16) | (padded[first + 1] << 8) | padded[first + 2]
    return (three >> (24 - (positions & 7) - widths)) & ((1 << widths) - 1)


def _strings(codes: np.ndarray) -> np.ndarray:
    """Return what the codes behind one clear stand for.

    Code 258 + k is the string of the k-th code and one byte more: the first of the next string. So each such string is
    a copy of bytes that stand earlier, and begins where the k-th string begins.
    """
    codes = codes.astype(np.int64)
    numbers = np.arange(len(codes))
    parents = codes - _FIRST
    copies = parents >= 0
    if (parents >= numbers).any():
        raise PictureError("damaged LZW data: a code comes before its string")
    root = np.where(copies, parents, numbers)
    depth = copies.astype(np.int64)
    while (deeper := depth[root]).any():  # pointer doubling: the length of a string is its distance from a literal
        depth = depth + deeper
        root = root[root]
    lengths = depth + 1
    ends = np.cumsum(lengths)
    begins = ends - lengths
    source = np.arange(ends[-1])
    copied = np.repeat(copies, lengths)
    back = np.repeat(begins - begins[np.where(copies, parents, numbers)], lengths)
    source = np.where(copied, source - back, source)
    while not np.array_equal(further := source[source], source):
        source = further
    literals = np.zeros(ends[-1], np.uint8)
    literals[begins[~copies]] = codes[~copies]
    return literals[source]
