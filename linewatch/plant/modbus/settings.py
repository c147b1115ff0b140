"""The configuration file of a Modbus TCP bridge: which service it follows, and what it shows to PLCs."""

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from linewatch.config.address import HostAddress
from linewatch.config.base import Settings
from linewatch.plant.plc.settings import AcknowledgeSettings, PlcSettings

WordOrder = Literal["high-first", "low-first"]


class ListenSettings(Settings):
    """`[listen]`: where PLCs connect.

    Modbus has no keys and no passwords: every client that can connect can read, and acknowledge alarms where
    `[acknowledge]` is configured.
    """

    address: HostAddress = Field(default="127.0.0.1", description="where PLCs connect")
    port: int = Field(default=502, ge=0, le=65535, description="0: any free port, which the log names")
    open_to_network: bool = Field(default=False, description="must be true for an address that is not loopback")
    clients: Annotated[tuple[HostAddress, ...], Field(strict=False)] = Field(
        default=(), description="only these addresses may connect; empty: every host that can reach `address`"
    )
    connections: int = Field(
        default=16,
        ge=1,
        le=256,
        description="at a time; one more closes the connection that has been silent longest",
    )
    idle_s: float = Field(default=60.0, ge=1, le=3600, description="close a connection after so long without a request")

    @model_validator(mode="after")
    def _opened_on_purpose(self) -> Self:
        if not self.open_to_network and not ipaddress.ip_address(self.address).is_loopback:
            raise ValueError(
                f"address {self.address!r} can be reached from other hosts, and Modbus has no security; "
                "set open_to_network = true if that is intended (and name the PLCs in clients), or use 127.0.0.1"
            )
        return self


class ModbusSettings(PlcSettings):
    """`linewatch bridge modbus CONFIG` reads exactly this."""

    listen: ListenSettings = ListenSettings()
    acknowledge: AcknowledgeSettings | None = Field(
        default=None, description="lets PLCs acknowledge alarms by coils; null: there are no coils"
    )
    word_order: WordOrder = Field(
        default="high-first", description="which half of a 32-bit value has the lower address"
    )

    @model_validator(mode="after")
    def _only_plcs_acknowledge(self) -> Self:
        if self.acknowledge is not None and self.listen.open_to_network and not self.listen.clients:
            raise ValueError(
                "with [acknowledge] and [listen] open_to_network, any host in the network could acknowledge alarms; "
                "name the PLCs in [listen] clients"
            )
        return self
