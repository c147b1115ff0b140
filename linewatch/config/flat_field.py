"""The flat field: what makes every pixel of a camera answer alike to the same light.

The correction is fixed-point: a pixel becomes (pixel - offset) * gain / 2**shift, rounded half to even and limited to
0..255. This is the two-point correction of dark signal and photo response (EMVA Standard 1288, non-uniformities).
"""

import base64
import binascii
import zlib
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from linewatch.config.calibration_part import CalibrationPart, Measured
from linewatch.contracts.closed import ClosedModel


class PackedLevels(ClosedModel):
    """An array of uint8 (lines, width) in a file: base64 of its bytes as zlib compresses them."""

    lines: int = Field(ge=1, le=4096)
    width_px: int = Field(ge=32, le=16384)
    data: str

    @classmethod
    def of(cls, levels: np.ndarray) -> Self:
        """Pack an array of uint8 (lines, width)."""
        lines, width = levels.shape
        return cls(lines=lines, width_px=width, data=base64.b64encode(zlib.compress(levels.tobytes(), 9)).decode())

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        try:
            self.levels  # noqa: B018 (unpacks it)
        except (binascii.Error, zlib.error) as error:
            raise ValueError(f"the data cannot be unpacked ({error})") from error
        return self

    @property
    def levels(self) -> np.ndarray:
        """Read-only uint8 (lines, width). Raises binascii.Error, zlib.error or ValueError for damaged data."""
        size = self.lines * self.width_px
        unpacked = zlib.decompressobj().decompress(base64.b64decode(self.data, validate=True), size + 1)
        if len(unpacked) != size:
            raise ValueError(f"found {len(unpacked)} levels, expected {self.lines} x {self.width_px}")
        return np.frombuffer(unpacked, np.uint8).reshape(self.lines, self.width_px)


class FlatField(CalibrationPart):
    """The flat field of a camera, and how even it makes a uniform target.

    An unevenness is the standard deviation of the mean levels of all columns (of all pixels, per pixel) over their
    mean. It is measured on pictures that the correction was not made from.
    """

    per: Literal["column", "pixel"] = Field(description="column: of a line-scan camera; pixel: of an area camera")
    target_level: float = Field(gt=0, le=255, description="gray level that the bright reference is brought to")
    shift: int = Field(ge=0, le=8, description="a gain counts in units of 2**-shift")
    offset: PackedLevels
    gain: PackedLevels
    dead: Annotated[tuple[tuple[int, int], ...], Field(max_length=4096)] = Field(
        default=(),
        description="line and column of pixels that hardly answer to light and are replaced by their neighbours; per "
        "column, line 0 stands for all",
    )
    hot: Annotated[tuple[tuple[int, int], ...], Field(max_length=4096)] = Field(
        default=(), description="the same of pixels that are much brighter in the dark than their neighbours"
    )
    dark_level: Measured = Field(description="mean gray level of the dark reference")
    bright_level: Measured = Field(description="mean gray level of the bright reference")
    uneven_before: Measured = Field(description="as a share of the mean level")
    uneven_after: Measured = Field(description="as a share of the mean level")

    def figures(self) -> tuple[str, ...]:
        told = f"unevenness {self.uneven_after.told(100)} %, without it {self.uneven_before.told(100)} %"
        return (told, f"{len(self.dead)} dead pixels of a line") if self.dead else (told,)

    @model_validator(mode="after")
    def _arrays_fit(self) -> Self:
        for name, packed in (("offset", self.offset), ("gain", self.gain)):
            if packed.width_px != self.width_px or (packed.lines == 1) != (self.per == "column"):
                raise ValueError(
                    f"{name} has {packed.lines} x {packed.width_px} levels, expected {self.width_px} for a part per "
                    f"{self.per}"
                )
        if self.offset.lines != self.gain.lines:
            raise ValueError(f"offset has {self.offset.lines} lines, gain {self.gain.lines}, expected as many")
        for line, column in (*self.dead, *self.hot):
            if not (0 <= line < self.gain.lines and 0 <= column < self.width_px):
                raise ValueError(f"line {line}, column {column} lies outside the picture")
        return self
