"""`[line.encoder.counter]`: a counter that is read beside the camera."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from linewatch.config.base import Settings


class _BesideCounter(Settings):
    polls_per_s: float = Field(
        default=100.0, ge=5, le=1000, description="readings; between two, the strip is taken to run evenly"
    )


class ModbusCounter(_BesideCounter):
    """A counter in a Modbus TCP device, such as a fast counter terminal or the mill's PLC; needs the extra `plant`."""

    type: Literal["modbus"]
    host: str = Field(min_length=1, max_length=255, description="name or address of the device")
    port: int = Field(default=502, ge=1, le=65535, description="its TCP port")
    unit: int = Field(default=1, ge=0, le=255, description="unit identifier, also called device or slave")
    address: int = Field(ge=0, le=65535, description="of its first register, counted from 0")
    table: Literal["holding", "input"] = Field(default="holding", description="the registers that hold the counter")
    low_word_first: bool = Field(default=False, description="of a counter of more than 16 bits")


class FileCounter(_BesideCounter):
    """A counter that a file shows as a number, as Linux shows those of its counter devices under /sys/bus/counter."""

    type: Literal["file"]
    path: Annotated[Path, Field(strict=False)]


BesideCounter = Annotated[ModbusCounter | FileCounter, Field(discriminator="type")]
