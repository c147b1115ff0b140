"""The configuration file of an S7 bridge: which service it follows, and which PLC it serves."""

from typing import Annotated

from pydantic import Field, model_validator

from linewatch.config.base import Settings
from linewatch.plant.plc.settings import AcknowledgeSettings, PlcSettings

BlockNumber = Annotated[int, Field(ge=1, le=59_999)]


class PlcAddressSettings(Settings):
    """`[plc]`: the PLC that the bridge connects to.

    S7 communication has no keys: what the bridge writes can be written by any host that reaches the PLC.
    """

    address: str = Field(default="192.168.0.1", min_length=1, max_length=255, description="host name or IP address")
    port: int = Field(default=102, ge=1, le=65535, description="of ISO on TCP (RFC 1006)")
    rack: int = Field(default=0, ge=0, le=7, description="of the CPU; 0 but in systems of several racks")
    slot: int = Field(default=1, ge=0, le=31, description="1: S7-1200 and S7-1500; 2: S7-300; 400: see its hardware")
    status_block: BlockNumber = Field(default=100, description="number of the data block that the bridge writes")
    cycle_ms: int = Field(
        default=20, ge=5, le=5000, description="how often the bridge looks whether there is something to write"
    )


class PlcCommandSettings(AcknowledgeSettings):
    """`[commands]`: lets the PLC acknowledge alarms and tell coils. Without this section it can only read."""

    block: BlockNumber = Field(default=101, description="number of the data block that the PLC writes")
    stopped_s: float = Field(
        default=2.0,
        ge=0.2,
        le=600,
        description="after so long without a change of plc_heartbeat, the PLC is told as stopped",
    )


class S7Settings(PlcSettings):
    """`linewatch bridge s7 CONFIG` reads exactly this."""

    plc: PlcAddressSettings = PlcAddressSettings()
    commands: PlcCommandSettings | None = Field(default=None, description="null: the PLC can only read")

    @model_validator(mode="after")
    def _two_blocks(self) -> "S7Settings":
        if self.commands is not None and self.commands.block == self.plc.status_block:
            raise ValueError(
                f"[commands] block and [plc] status_block are both {self.plc.status_block}; give the PLC's commands "
                "a data block of their own"
            )
        return self
