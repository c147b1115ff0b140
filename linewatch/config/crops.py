"""`[crops]`: pictures of defects on the wire. Where it is left out, there are none."""

from pydantic import Field

from linewatch.config.base import Settings


class CropSettings(Settings):
    """How large the pictures are, and how many of them the service makes beside its work."""

    margin_mm: float = Field(default=16.0, ge=0, le=500, description="of steel around the defect")
    max_px: int = Field(default=512, ge=32, le=2048, description="of the longer side; a larger picture is scaled down")
    max_per_s: float = Field(default=20.0, gt=0, le=500, description="beyond it the least severe are left out")
