"""`[crops]`: crops of defects on the wire; without the table none are published."""

from pydantic import Field

from linewatch.config.base import Settings


class CropSettings(Settings):
    """Pictures of defects on the wire: their size and number. Without this table none are published."""

    margin_mm: float = Field(default=16.0, ge=0, le=500, description="steel around the defect")
    max_px: int = Field(default=512, ge=32, le=2048, description="longer side; a larger crop is scaled down")
    max_per_s: float = Field(
        default=20.0, gt=0, le=500, description="crops per second; the least severe defects beyond it get none"
    )
