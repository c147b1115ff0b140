"""`[coil_data]`: where Level 2 leaves what it knows of the coils."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from linewatch.config.base import Settings


class CoilDataSettings(Settings):
    """A folder of one *.json or *.toml per coil, each renamed in when it is complete."""

    folder: Annotated[Path, Field(strict=False)]
    look_s: float = Field(default=1.0, gt=0, le=60, description="how often new files are looked for")
