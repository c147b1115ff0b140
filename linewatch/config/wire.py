"""`[wire]`: the sockets of the service, and the keys that every address but loopback needs."""

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from linewatch.config.base import Settings
from linewatch.contracts.access import Role

_ENDPOINT = re.compile(r"tcp://([^:/\[\]]+|\[[0-9a-fA-F:]+\]):([0-9]{1,5}|\*)|ipc://.+")


def _endpoint(text: str) -> str:
    if not _ENDPOINT.fullmatch(text):
        raise ValueError(f"{text!r} is not an endpoint; write tcp://HOST:PORT (PORT may be *) or ipc://PATH")
    return text


Endpoint = Annotated[str, AfterValidator(_endpoint)]


def _peer(endpoint: str) -> str:
    if endpoint.endswith(":*"):
        raise ValueError(f"{endpoint!r} has no port to connect to; write the port that the service binds")
    return endpoint


PeerEndpoint = Annotated[Endpoint, AfterValidator(_peer)]
"""An endpoint to connect to: unlike one to bind, it has a port."""

ANY_PORT = "tcp://127.0.0.1:*"
"""A free port of this host, for a service that no consumer expects."""


class KeySettings(Settings):
    """CURVE keys of the service, and of the clients that may connect. See `linewatch keys`."""

    server_secret_file: Annotated[Path, Field(strict=False)] = Field(description="secret certificate of the service")
    clients_dir: Annotated[Path, Field(strict=False)] = Field(
        description="folder of the public certificates that may connect, each with its role"
    )


class ClientKeySettings(Settings):
    """CURVE keys of a client, for a service that has keys."""

    secret_file: Annotated[Path, Field(strict=False)] = Field(description="secret certificate of the client")
    server_public_file: Annotated[Path, Field(strict=False)] = Field(description="public certificate of the service")


class WireSettings(Settings):
    """The sockets: tcp://HOST:PORT or ipc://PATH. Addresses that other hosts reach need keys."""

    publish: Endpoint = Field(default="tcp://127.0.0.1:5570", description="PUB socket of all messages")
    serve: Endpoint = Field(
        default="tcp://127.0.0.1:5571", description="socket for snapshots and for messages that a client missed"
    )
    commands: Endpoint | None = Field(default=None, description="socket for commands; none: none are taken")
    heartbeat_hz: float = Field(default=10.0, gt=0, le=100, description="rate of status messages")
    send_high_water: int = Field(
        default=2_000,
        ge=10,
        description="messages kept for a slow subscriber; beyond it the subscriber misses some, and can detect it",
    )
    keys: KeySettings | None = Field(default=None, description="none: loopback only")
    role_without_keys: Annotated[Role, Field(strict=False)] = Field(
        default=Role.OPERATOR,
        description="role of every process on this host, where there are no keys: observer or operator. Over an ipc:// "
        "address the service's own user and root are engineers",
    )

    @model_validator(mode="after")
    def _has_one_source_of_roles(self) -> Self:
        if self.keys is not None and "role_without_keys" in self.model_fields_set:
            raise ValueError("role_without_keys does not apply with [wire.keys], where each key has a role; remove it")
        if self.role_without_keys is Role.ENGINEER:
            raise ValueError(
                "role_without_keys = 'engineer' would let every process of this host change engines and rules, "
                "expected 'observer' or 'operator'; an engineer has a key ([wire.keys]), or is the service's own user "
                "at commands = 'ipc://PATH'"
            )
        return self
