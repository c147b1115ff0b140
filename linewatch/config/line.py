"""`[line]`: the strip and the camera's place over it."""

from typing import Literal

from pydantic import Field

from linewatch.config.base import Settings


class LineSettings(Settings):
    """Geometry of one camera over the strip."""

    side: Literal["top", "bottom"] = "top"
    camera: str = Field(default="cam1", pattern=r"^[A-Za-z0-9_-]{1,32}$")
    width_px: int = Field(default=1600, ge=32, le=16384)
    frame_lines: int = Field(default=256, ge=16, le=4096)
    mm_per_px: float = Field(default=0.5, gt=0, le=10, description="across the strip")
    mm_per_line: float = Field(default=1.0, gt=0, le=10, description="along the strip, for sources without an encoder")
    line_rate_hz: float = Field(default=20_000.0, gt=0, le=1e6, description="for sources without a clock of their own")
    across_offset_mm: float = Field(default=0.0, description="mill coordinate of the camera's first pixel")
