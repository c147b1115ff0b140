"""Topic `crop`."""

from typing import Annotated, Literal

from pydantic import Field, PrivateAttr

from linewatch.wire.schema.base import MAX_PAYLOAD_BYTES, Count, IntervalMm, Message, Severity, Timed, Topic


class CropBody(Message):
    """A picture of a defect that has closed, by the frame that showed most of it; the payload is a gray PNG.

    Pixel (row, column) is strip line `first_line + row / scale`, camera column `left_px + column / scale`: so the
    defect's masks lie on it.
    """

    id: str = Field(description="of the defect")
    ordinal: Count = Field(description="of the frame")
    coil: str
    side: str
    camera: str
    defect_class: str
    severity: Severity | None
    area_mm2: Annotated[float, Field(ge=0)] = Field(description="of the defect")
    across_mm: IntervalMm = Field(description="that the picture shows")
    along_mm: IntervalMm
    first_line: Count
    lines: Annotated[int, Field(ge=1)]
    left_px: Count
    columns: Annotated[int, Field(ge=1)]
    scale: Annotated[float, Field(gt=0, le=1)] = Field(description="picture pixels per camera pixel, both ways")
    png_bytes: Annotated[int, Field(ge=1, le=MAX_PAYLOAD_BYTES)]


class CropMessage(CropBody, Timed):
    """Topic `crop`, not journaled: a missed one is not served again. `png` holds the picture, from the payload."""

    topic: Literal[Topic.CROP]
    _png: bytes = PrivateAttr(default=b"")

    @property
    def png(self) -> bytes:
        """The picture's file."""
        return self._png
