"""Topic `crop`."""

from typing import Annotated, Literal

from pydantic import Field, PrivateAttr

from linewatch.wire.schema.base import MAX_PAYLOAD_BYTES, Count, IntervalMm, Message, Severity, Timed, Topic


class CropBody(Message):
    """A crop of a closed defect, from the frame that shows most of it. The payload is a gray PNG.

    Pixel (row, column) is strip line `first_line + row / scale` and camera column `left_px + column / scale`, so the
    defect's masks can be drawn on it.
    """

    id: str = Field(description="id of the defect")
    ordinal: Count = Field(description="number of the frame")
    coil: str
    side: str
    camera: str
    defect_class: str
    severity: Severity | None
    area_mm2: Annotated[float, Field(ge=0)] = Field(description="area of the defect")
    across_mm: IntervalMm = Field(description="the crop's extent across")
    along_mm: IntervalMm = Field(description="the crop's extent along")
    first_line: Count
    lines: Annotated[int, Field(ge=1)]
    left_px: Count
    columns: Annotated[int, Field(ge=1)]
    scale: Annotated[float, Field(gt=0, le=1)] = Field(description="crop pixels per camera pixel, in both directions")
    png_bytes: Annotated[int, Field(ge=1, le=MAX_PAYLOAD_BYTES)]


class CropMessage(CropBody, Timed):
    """Topic `crop`, not journaled: a missed crop cannot be replayed. `png` holds the image, from the payload."""

    topic: Literal[Topic.CROP]
    _png: bytes = PrivateAttr(default=b"")

    @property
    def png(self) -> bytes:
        """Return the crop as a PNG file."""
        return self._png
