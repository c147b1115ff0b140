"""Monochrome pixel formats of 8 to 16 bits, reduced to 8 bits by a window of levels.

Names and layouts: EMVA's Pixel Format Naming Convention 2.4 (`p` in the name: packed from the lowest bit), and GigE
Vision 2.0 for the older `Packed` formats, which keep the low bits of two pixels in one byte.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from linewatch.capture.genicam.settings import PixelFormat
from linewatch.contracts.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PackedPixel:
    """Where the bits of one pixel of a packed group lie: (byte & mask) >> shift, for a high and a low part.

    high: (byte, mask, shift); low: the same, of the bits below. high_weight: levels of the high part's lowest bit.
    low_weight: of the low part's.
    """

    high: tuple[int, int, int]
    high_weight: int
    low: tuple[int, int, int]
    low_weight: int = 1


@dataclass(frozen=True, slots=True)
class MonoFormat:
    """A pixel format. code: its 32-bit number. group_bytes: of `len(pixels)` packed pixels; 0: not packed."""

    name: PixelFormat
    code: int
    bits: int
    group_bytes: int = 0
    pixels: tuple[PackedPixel, ...] = ()

    @property
    def top(self) -> int:
        """The highest level."""
        return (1 << self.bits) - 1

    def line_bytes(self, width_px: int) -> int:
        """Return the bytes of a line. Raises ConfigError for a width that ends within a packed group."""
        if not self.group_bytes:
            return width_px * (1 if self.bits == 8 else 2)
        groups, rest = divmod(width_px, len(self.pixels))
        if rest:
            raise ConfigError(
                f"[source] pixel_format = '{self.name}' packs {len(self.pixels)} pixels together, [line] width_px is "
                f"{width_px}; expected a multiple of {len(self.pixels)}; change the width, or take a format that is "
                "not packed"
            )
        return groups * self.group_bytes


def _shared_byte(bits: int) -> tuple[PackedPixel, ...]:
    """Two pixels in three bytes, their low bits in the middle one."""
    low, weight = (1 << bits - 8) - 1, 1 << bits - 8
    return (
        PackedPixel((0, 255, 0), weight, (1, low, 0)),
        PackedPixel((2, 255, 0), weight, (1, low << 4, 4)),
    )


MONO_FORMATS: Final[tuple[MonoFormat, ...]] = (
    MonoFormat("Mono8", 0x01080001, 8),
    MonoFormat("Mono10", 0x01100003, 10),
    MonoFormat("Mono12", 0x01100005, 12),
    MonoFormat("Mono14", 0x01100025, 14),
    MonoFormat("Mono16", 0x01100007, 16),
    MonoFormat("Mono10Packed", 0x010C0004, 10, 3, _shared_byte(10)),
    MonoFormat("Mono12Packed", 0x010C0006, 12, 3, _shared_byte(12)),
    MonoFormat(
        "Mono10p",
        0x010A0046,
        10,
        5,
        (
            PackedPixel((1, 3, 0), 256, (0, 255, 0)),
            PackedPixel((2, 15, 0), 64, (1, 252, 2)),
            PackedPixel((3, 63, 0), 16, (2, 240, 4)),
            PackedPixel((4, 255, 0), 4, (3, 192, 6)),
        ),
    ),
    MonoFormat(
        "Mono12p",
        0x010C0047,
        12,
        3,
        (PackedPixel((1, 15, 0), 256, (0, 255, 0)), PackedPixel((2, 255, 0), 16, (1, 240, 4))),
    ),
)


def mono_format(name: PixelFormat) -> MonoFormat:
    """Return a format by its name."""
    return next(one for one in MONO_FORMATS if one.name == name)


class MonoReader:
    """Turns lines of one format into 8-bit gray: `black_level` and below become 0, `white_level` and above 255.

    Between the two the scale is linear and rounded. It keeps one picture, so that nothing is allocated for each frame.
    """

    def __init__(self, form: MonoFormat, lines: int, width_px: int, black_level: int = 0, white_level: int = 0) -> None:
        """white_level: 0 for the highest level of the format."""
        self._form, self._width = form, width_px
        self._line_bytes = form.line_bytes(width_px)
        self._black, self._white = black_level, white_level or form.top
        levels = np.arange(1 << (8 if form.bits == 8 else 16), dtype=np.float64)
        self._table = np.clip(np.rint((levels - self._black) * self._scale), 0, 255).astype(np.uint8)
        self._as_it_is = form.bits == 8 and np.array_equal(self._table, levels)
        self._gray = np.empty((lines, width_px), np.uint8)

    @property
    def image_bytes(self) -> int:
        """Bytes of a whole picture."""
        return len(self._gray) * self._line_bytes

    @property
    def line_bytes(self) -> int:
        return self._line_bytes

    @property
    def _scale(self) -> float:
        return 255 / (self._white - self._black)

    def gray(self, data: np.ndarray, lines: int) -> np.ndarray:
        """Return the first `lines` lines of a buffer (bytes,) as uint8 (lines, width), valid until the next call.

        8-bit pixels without a window are a view of the buffer.
        """
        rows = data[: lines * self._line_bytes].reshape(lines, self._line_bytes)
        if self._as_it_is or not lines:
            return rows if self._as_it_is else self._gray[:0]
        gray = self._gray[:lines]
        if self._form.pixels:
            return self._unpacked(rows, gray)
        return cv2.LUT(rows if self._form.bits == 8 else rows.view("<u2"), self._table, dst=gray)

    def _unpacked(self, rows: np.ndarray, gray: np.ndarray) -> np.ndarray:
        planes = cv2.split(rows.reshape(len(rows), -1, self._form.group_bytes))
        scale, offset = self._scale, -self._black * self._scale
        found = [
            cv2.addWeighted(
                _bits(planes, pixel.high), pixel.high_weight * scale, _bits(planes, pixel.low),
                pixel.low_weight * scale, offset,
            )
            for pixel in self._form.pixels
        ]  # fmt: skip
        cv2.merge(found, dst=gray.reshape(len(rows), -1, len(found)))
        return gray


def _bits(planes: Sequence[np.ndarray], part: tuple[int, int, int]) -> np.ndarray:
    """Return (byte & mask) >> shift of a plane of bytes."""
    place, mask, shift = part
    if mask == 255:
        return planes[place]
    levels = np.arange(256, dtype=np.uint8)
    return cv2.LUT(planes[place], (levels & mask) >> shift)
