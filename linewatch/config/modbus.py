"""The configuration file of a Modbus TCP bridge: the service, the PLCs, and what the registers hold."""

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from linewatch.config.base import Settings
from linewatch.config.service import LogSettings
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
        raise ValueError(f"{text!r} is no IP address; write, for example, 127.0.0.1 or 192.168.10.5") from None


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


class ServiceEndpoints(Settings):
    """The service that the bridge reads."""

    publish: PeerEndpoint = Field(default="tcp://127.0.0.1:5570", description="[wire] publish of the service")
    serve: PeerEndpoint = Field(default="tcp://127.0.0.1:5571", description="[wire] serve of the service")
    keys: ClientKeySettings | None = Field(default=None, description="none: the service has no keys")
    silence_s: float = Field(
        default=0.8, ge=0.2, le=10, description="without a status message for this long the state register is 0, silent"
    )


class ListenSettings(Settings):
    """Where PLCs connect. Modbus has no keys and no passwords: every client that connects can read, and acknowledge
    alarms where `[acknowledge]` is given.
    """

    address: HostAddress = Field(default="127.0.0.1", description="IP address of this host")
    port: int = Field(default=502, ge=0, le=65535, description="0: any free port, named in the log")
    open_to_network: bool = Field(default=False, description="must be true for every address but loopback")
    clients: Annotated[tuple[HostAddress, ...], Field(strict=False)] = Field(
        default=(), description="addresses that may connect; empty: every host that can reach the address"
    )
    connections: int = Field(
        default=16, ge=1, le=256, description="at a time; one more closes the connection that was silent for longest"
    )
    idle_s: float = Field(
        default=60.0, ge=1, le=3600, description="a connection without a request for this long is closed"
    )

    @model_validator(mode="after")
    def _opened_on_purpose(self) -> Self:
        if not self.open_to_network and not ipaddress.ip_address(self.address).is_loopback:
            raise ValueError(
                f"address {self.address!r} can be reached from other hosts, and Modbus has no security; "
                "set open_to_network = true if that is intended (and name the PLCs in clients), or use 127.0.0.1"
            )
        return self


class AcknowledgeSettings(Settings):
    """PLCs may acknowledge alarms by Modbus coils. Without this table there are no coils."""

    commands: PeerEndpoint = Field(description="[wire] commands of the service")
    steady_s: float = Field(
        default=1.0,
        ge=0.1,
        le=60,
        description="time that an alarm must have been in the registers; longer than a PLC takes from read to write",
    )
    give_up_s: float = Field(
        default=10.0, ge=1, le=300, description="without an answer of the service for this long the result is 3"
    )


class ModbusSettings(Settings):
    """The whole file that `linewatch bridge modbus` reads."""

    service: ServiceEndpoints = ServiceEndpoints()
    listen: ListenSettings = ListenSettings()
    acknowledge: AcknowledgeSettings | None = None
    word_order: WordOrder = Field(default="high-first", description="half of a 32 bit value that has the lower address")
    alarm_bits: Annotated[dict[str, Bit], AfterValidator(_one_use)] = Field(
        default={}, description="bit of the alarm registers, by the name of an alarm rule"
    )
    class_codes: Annotated[dict[str, Code], AfterValidator(_one_use)] = Field(
        default={}, description="code in the registers, by defect class"
    )
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _only_plcs_acknowledge(self) -> Self:
        if self.acknowledge is not None and self.listen.open_to_network and not self.listen.clients:
            raise ValueError(
                "with [acknowledge] and [listen] open_to_network, every host of the network could acknowledge alarms; "
                "name the PLCs in [listen] clients"
            )
        return self
