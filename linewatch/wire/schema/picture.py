"""The newest picture of a camera, which a consumer requests: a reduced frame, for people who watch the strip go by."""

from typing import Annotated, Literal

from pydantic import Field

from linewatch.wire.schema.base import MAX_PAYLOAD_BYTES, Count, IntervalMm, Message, Version, Versioned


class NewestPictureRequest(Message):
    """Asks for the newest picture. A service makes one at most five times a second, and only while somebody asks."""

    schema_version: Version
    request: Literal["picture"]
    id: Count = Field(default=0, description="repeated in the reply")


class NewestPictureBody(Message):
    """Where the picture lies. Pixel (row, column) shows strip line `first_line + row / scale`, camera column `column /
    scale`.
    """

    ordinal: Count = Field(description="number of the frame, as in its `frame` message")
    coil: str
    side: str
    camera: str
    first_line: Count
    lines: Annotated[int, Field(ge=1)] = Field(description="lines of strip that it shows")
    width_px: Annotated[int, Field(ge=1)] = Field(description="columns of the camera")
    scale: Annotated[float, Field(gt=0, le=1)] = Field(description="picture pixels per camera pixel")
    along_mm: IntervalMm
    across_mm: IntervalMm
    captured_unix_ns: Count = Field(description="when its last line was taken, in nanoseconds since 1970 (UTC)")
    jpeg_bytes: Annotated[int, Field(ge=1, le=MAX_PAYLOAD_BYTES)]


class NewestPictureReply(Versioned):
    """The reply to `picture`, followed by (`picture`, empty, the picture as a gray JPEG) where there is one."""

    reply: Literal["picture"]
    id: Count
    picture: NewestPictureBody | None = Field(
        description="null: none has been made yet; ask again after a fifth of a second"
    )
