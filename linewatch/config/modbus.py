"""The whole configuration file of a Modbus TCP bridge: which service it listens to, and what it shows to a PLC."""

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from linewatch.config.base import Settings
from linewatch.config.log import LogSettings
from linewatch.config.wire import ClientKeySettings, Endpoint

ALARM_BITS = 64
NO_CLASS, CLASS_WITHOUT_CODE = 0, 65535


def _peer(endpoint: str) -> str:
    if endpoint.endswith(":*"):
        raise ValueError(f"{endpoint!r} has no port to connect to; write the port that the service binds")
    return endpoint


def _host_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is no IP address; write for example 127.0.0.1 or 192.168.10.5") from None


def _one_use(names: dict[str, int]) -> dict[str, int]:
    owners: dict[int, str] = {}
    for name, number in names.items():
        if owners.setdefault(number, name) != name:
            raise ValueError(f"{owners[number]!r} and {name!r} both have {number}; give each its own")
    return names


PeerEndpoint = Annotated[Endpoint, AfterValidator(_peer)]
HostAddress = Annotated[str, AfterValidator(_host_address)]
Bit = Annotated[int, Field(ge=0, lt=ALARM_BITS)]
WordOrder = Literal["high-first", "low-first"]
Code = Annotated[int, Field(gt=NO_CLASS, lt=CLASS_WITHOUT_CODE)]


class ServedBySettings(Settings):
    """`[service]`: the service that the bridge listens to."""

    publish: PeerEndpoint = "tcp://127.0.0.1:5570"
    serve: PeerEndpoint = "tcp://127.0.0.1:5571"
    keys: ClientKeySettings | None = None
    silence_s: float = Field(
        default=0.8, ge=0.2, le=10, description="without a status for so long, the state is 0 (silent)"
    )


class ListenSettings(Settings):
    """`[listen]`: where PLCs connect. Modbus has no keys and no passwords: whoever connects can read, and acknowledge
    where `[acknowledge]` lets PLCs.
    """

    address: HostAddress = "127.0.0.1"
    port: int = Field(default=502, ge=0, le=65535, description="0: any free one, told in the log")
    open_to_network: bool = Field(default=False, description="must be true for an address that is not loopback")
    clients: Annotated[tuple[HostAddress, ...], Field(strict=False)] = Field(
        default=(), description="only these may connect; none named: everyone who can reach the address"
    )
    connections: int = Field(
        default=16, ge=1, le=256, description="at once; one more closes the one that was silent longest"
    )
    idle_s: float = Field(
        default=60.0, ge=1, le=3600, description="a connection without a request for so long is closed"
    )

    @model_validator(mode="after")
    def _opened_on_purpose(self) -> Self:
        if not self.open_to_network and not ipaddress.ip_address(self.address).is_loopback:
            raise ValueError(
                f"address {self.address!r} can be reached from other hosts, and Modbus has no security; "
                "set open_to_network = true where that is meant (and name the PLCs in clients), or use 127.0.0.1"
            )
        return self


class AcknowledgeSettings(Settings):
    """`[acknowledge]`: PLCs may acknowledge alarms by coils. Left out, there are no coils."""

    commands: PeerEndpoint = Field(description="[wire] commands of the service")
    steady_s: float = Field(
        default=1.0,
        ge=0.1,
        le=60,
        description="an alarm must have been in the registers for so long; longer than a PLC takes from read to write",
    )
    give_up_s: float = Field(
        default=10.0, ge=1, le=300, description="without an answer of the service for so long, the result is 3"
    )


class ModbusSettings(Settings):
    """`linewatch bridge modbus CONFIG` reads exactly this."""

    service: ServedBySettings = ServedBySettings()
    listen: ListenSettings = ListenSettings()
    acknowledge: AcknowledgeSettings | None = None
    word_order: WordOrder = Field(
        default="high-first", description="which half of a 32 bit value has the lower address"
    )
    alarm_bits: Annotated[dict[str, Bit], AfterValidator(_one_use)] = Field(
        default={}, description="alarm rule -> bit of the alarm words"
    )
    class_codes: Annotated[dict[str, Code], AfterValidator(_one_use)] = Field(
        default={}, description="defect class -> code"
    )
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _only_plcs_acknowledge(self) -> Self:
        if self.acknowledge is not None and self.listen.open_to_network and not self.listen.clients:
            raise ValueError(
                "with [acknowledge] and [listen] open_to_network, anybody in the network could acknowledge alarms; "
                "name the PLCs in [listen] clients"
            )
        return self
