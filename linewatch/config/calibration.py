"""`[calibration]`: where the calibrations of cameras lie, and whether one is demanded."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from linewatch.config.base import Settings
from linewatch.contracts.bounds import Serial


class CalibrationSettings(Settings):
    """What `linewatch calibrate` writes and the service applies: one file for each camera, named by its serial."""

    folder: Annotated[Path, Field(strict=False)] = Field(
        default=Path("calibration/camera"), description="holds SERIAL.json of each camera"
    )
    required: bool = Field(
        default=False, description="true: without a calibration of its camera the service does not start"
    )
    serial: Serial | None = Field(
        default=None, description="of the camera, for a source that cannot tell it, such as the simulator or a folder"
    )
