"""`[capture]`: the frame ring, the checks of grabs, and the strip-edge finder."""

from pydantic import Field

from linewatch.config.base import Settings


class CaptureSettings(Settings):
    """How grabs of the camera become frames."""

    ring_slots: int = Field(
        default=64, ge=2, le=4096, description="frames in flight; live, lines are missed while no slot is free"
    )
    black_level: int = Field(
        default=8, ge=0, le=254, description="gray level; a grab is black when its brightest 0.1 % do not exceed it"
    )
    edge_level: int = Field(
        default=16, ge=1, le=254, description="gray level; a column is steel when its mean exceeds it"
    )
    edge_min_width_px: int = Field(
        default=32, ge=1, description="narrowest stretch of steel columns that counts as strip"
    )
    dark_level: int = Field(
        default=20, ge=0, le=254, description="gray level; a zone of the strip is too dark when its mean is lower"
    )
    dim_level: int = Field(
        default=30,
        ge=0,
        le=254,
        description="gray level; strip of which zones are darker, though not too dark, is degraded: one defect in five "
        "that would be called is not",
    )
    bright_level: int = Field(
        default=250, ge=1, le=255, description="gray level; a zone is blown out when most of its pixels reach it"
    )
    restart_within_s: float = Field(
        default=300.0,
        ge=0,
        le=86_400,
        description="live: after a restart that took longer, or a camera that was away for longer, a coil goes on only "
        "where an encoder or the source tells how far the strip ran; by the clock alone it counts as over",
    )
