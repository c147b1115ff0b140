"""`[coil_data]`: the folder in which Level 2 places the data of the coils."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from linewatch.config.base import Settings


class CoilDataSettings(Settings):
    """A folder with one *.json or *.toml per coil. Level 2 writes a file elsewhere and renames it into the folder."""

    folder: Annotated[Path, Field(strict=False)] = Field(description="relative to the working directory")
    look_s: float = Field(default=1.0, gt=0, le=60, description="time between two looks for new files")
