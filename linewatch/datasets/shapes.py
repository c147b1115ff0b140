"""Outlines as annotation tools store them, and how each is drawn into a mask.

Coordinates are in pixels: (0, 0) is the upper left corner of the first pixel, whose middle is (0.5, 0.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from linewatch.datasets.errors import DatasetError

_SUBPIXEL_BITS = 4
_LARGEST_PX = 1 << 30
"""A window of run lengths is drawn as a whole; a slip of a digit must not take all memory."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The smallest box [x0, x1) x [y0, y1) around a shape, in pixels."""

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        _require_finite((self.x0, self.y0, self.x1, self.y1))

    def leave(self, lines: int, width: int) -> bool:
        """Return whether the box leaves an image by a pixel or more; less is rounding."""
        return self.x0 <= -1 or self.y0 <= -1 or self.x1 >= width + 1 or self.y1 >= lines + 1


@dataclass(frozen=True, slots=True)
class Polygon:
    """One or more rings, each as x and y in turn; an area inside two rings is a hole."""

    rings: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        for ring in self.rings:
            _require_finite(ring)

    def bounds(self) -> Bounds:
        points = np.concatenate([np.reshape(ring, (-1, 2)) for ring in self.rings])
        (x0, y0), (x1, y1) = points.min(0), points.max(0)
        return Bounds(float(x0), float(y0), float(x1), float(y1))

    def pixels(self, lines: int, width: int) -> NDArray[np.bool_]:
        """Return a mask (lines, width) of the pixels whose middle is inside.

        An outline that is less than a pixel wide, as of a fine scratch, would fall between the middles: it is drawn
        with its edges.
        """
        toggles = np.zeros((lines, width + 1), np.int8)
        area, length = 0.0, 0.0
        for ring in self.rings:
            points = np.reshape(np.asarray(ring, float), (-1, 2))
            for (xa, ya), (xb, yb) in zip(points, np.roll(points, -1, axis=0), strict=True):
                area, length = area + (xa * yb - xb * ya) / 2, length + float(np.hypot(xb - xa, yb - ya))
                first, stop = np.clip(np.ceil(np.sort([ya, yb]) - 0.5), 0, lines).astype(int)
                rows = np.arange(first, stop)
                if len(rows):
                    crossed = xa + (rows + 0.5 - ya) * (xb - xa) / (yb - ya)
                    columns = np.clip(np.ceil(crossed - 0.5), 0, width).astype(int)
                    np.bitwise_xor.at(toggles, (rows, columns), 1)
        inside = np.bitwise_xor.accumulate(toggles, axis=1)[:, :width] > 0
        return inside | self._edges(lines, width) if abs(area) < length / 2 else inside

    def _edges(self, lines: int, width: int) -> NDArray[np.bool_]:
        drawn = np.zeros((lines, width), np.uint8)
        scale = 1 << _SUBPIXEL_BITS
        rings = [np.round((np.reshape(ring, (-1, 1, 2)) - 0.5) * scale).astype(np.int32) for ring in self.rings]
        cv2.polylines(drawn, rings, isClosed=True, color=1, shift=_SUBPIXEL_BITS)
        return drawn > 0


@dataclass(frozen=True, slots=True)
class Runs:
    """Run lengths of a window of `lines` x `width` pixels whose upper left pixel is (x0, y0).

    counts: pixels outside and inside in turn, outside first; by columns as COCO, or by lines as CVAT.
    """

    counts: tuple[int, ...]
    lines: int
    width: int
    x0: int = 0
    y0: int = 0
    by_columns: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.lines * self.width <= _LARGEST_PX:
            raise DatasetError(f"run lengths of {self.width} x {self.lines}, expected 1 to {_LARGEST_PX} pixels")
        if min(self.counts, default=0) < 0 or sum(self.counts) != self.lines * self.width:
            raise DatasetError(
                f"run lengths of {sum(self.counts)} pixels, expected {self.lines * self.width} "
                f"of a window of {self.width} x {self.lines}"
            )

    def bounds(self) -> Bounds:
        rows, columns = np.nonzero(self._window())
        if not len(rows):
            return Bounds(self.x0, self.y0, self.x0, self.y0)
        x, y = self.x0, self.y0
        return Bounds(
            float(x + columns.min()), float(y + rows.min()), float(x + columns.max() + 1), float(y + rows.max() + 1)
        )

    def pixels(self, lines: int, width: int) -> NDArray[np.bool_]:
        """Return a mask (lines, width); what leaves the image is cut off."""
        drawn = np.zeros((lines, width), bool)
        y0, x0 = max(self.y0, 0), max(self.x0, 0)
        inside = self._window()[y0 - self.y0 : lines - self.y0, x0 - self.x0 : width - self.x0]
        drawn[y0 : y0 + inside.shape[0], x0 : x0 + inside.shape[1]] = inside
        return drawn

    def _window(self) -> NDArray[np.bool_]:
        inside = np.arange(len(self.counts)) % 2 == 1
        flat = np.repeat(inside, self.counts)
        return flat.reshape(self.width, self.lines).T if self.by_columns else flat.reshape(self.lines, self.width)


@dataclass(frozen=True, slots=True)
class KaggleRuns:
    """Kaggle's run-length code of a whole image: see `decode_kaggle_rle`."""

    code: str

    def bounds(self) -> Bounds | None:
        """Return None: the code does not hold the image's size."""
        return None

    def pixels(self, lines: int, width: int) -> NDArray[np.bool_]:
        return decode_kaggle_rle(self.code, lines, width)


class Shape(Protocol):
    """What an outline is drawn from."""

    def bounds(self) -> Bounds | None:
        """Return the box around the shape, None where only drawing it tells."""

    def pixels(self, lines: int, width: int) -> NDArray[np.bool_]:
        """Return the shape's pixels in an image, bool (lines, width); `DatasetError` if it is of another size."""


@dataclass(frozen=True, slots=True)
class Outline:
    """The shape of a defect of the set's class `label`."""

    label: str
    shape: Shape


def draw(outlines: Sequence[Outline], labels: Sequence[str], lines: int, width: int) -> NDArray[np.uint8]:
    """Return a mask, uint8 (lines, width): 0 outside, k inside an outline of `labels[k - 1]`; the last one counts."""
    mask = np.zeros((lines, width), np.uint8)
    for one in outlines:
        mask[one.shape.pixels(lines, width)] = labels.index(one.label) + 1
    return mask


def _require_finite(values: Sequence[float]) -> None:
    if not np.isfinite(values).all():
        raise DatasetError(f"{', '.join(f'{value:g}' for value in values[:8])}: expected finite numbers of pixels")


def runs_of(mask: NDArray[np.bool_], x0: int, y0: int) -> Runs:
    """Return the run lengths, by lines, of a mask whose upper left pixel is (x0, y0) of the image."""
    flat = mask.ravel().astype(np.int8)
    edges = np.flatnonzero(np.diff(flat, prepend=np.int8(0)))
    counts = np.diff(np.concatenate([[0], edges, [flat.size]]))
    return Runs(tuple(int(n) for n in counts), mask.shape[0], mask.shape[1], x0, y0, by_columns=False)


def decode_coco_counts(code: str) -> tuple[int, ...]:
    """Return the run lengths in COCO's compressed code.

    Each number is written in digits of 5 bits, the lowest first, as characters from "0" on; the sixth bit says that
    another digit follows, the fifth of the last digit is the sign. From the third number on each is a difference to the
    number before the last.
    """
    counts: list[int] = []
    value, shift = 0, 0
    for letter in code:
        digit = ord(letter) - 48
        if not 0 <= digit < 64:
            raise DatasetError(f"run-length code {code[:40]!r}: {letter!r} is no digit of it")
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value, shift = 0, 0
    if shift:
        raise DatasetError(f"run-length code {code[:40]!r}: ends within a number")
    return tuple(counts)


def decode_kaggle_rle(text: str, lines: int, width: int) -> NDArray[np.bool_]:
    """Decode Kaggle's run-length code (1-based start and length, by columns) into a mask (lines, width)."""
    try:
        numbers = np.array(text.split(), np.int64).reshape(-1, 2)
    except ValueError:
        raise DatasetError(
            f"run-length code {text[:40]!r}: expected pairs of start and length, separated by blanks"
        ) from None
    starts, stops = numbers[:, 0] - 1, numbers.sum(axis=1) - 1
    if len(numbers) and (starts.min() < 0 or stops.max() > lines * width or numbers[:, 1].min() < 1):
        raise DatasetError(f"run-length code {text[:40]!r}: runs leave an image of {lines} x {width}; wrong size?")
    flat = np.zeros(lines * width, bool)
    for start, stop in zip(starts, stops, strict=True):
        flat[start:stop] = True
    return flat.reshape(width, lines).T
