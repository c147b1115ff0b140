"""`[capture]`: the frame ring, the checks on what a camera gives, and the strip-edge finder."""

from pydantic import Field

from linewatch.config.base import Settings


class CaptureSettings(Settings):
    """How grabs become frames."""

    ring_slots: int = Field(
        default=64, ge=2, le=4096, description="frames in flight; live capture misses lines when none is free"
    )
    black_level: int = Field(
        default=8, ge=0, le=254, description="a grab whose brightest 0.1 % is at or below this is black"
    )
    edge_level: int = Field(default=16, ge=1, le=254, description="a column mean above this is steel")
    edge_min_width_px: int = Field(default=32, ge=1, description="a narrower stretch of steel is not a strip")
