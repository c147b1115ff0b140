"""`[wire]`: the sockets, and the keys that anything but loopback needs."""

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

ANY_PORT = "tcp://127.0.0.1:*"
"""A free port of this host, for a service that no consumer expects."""


class KeySettings(Settings):
    """CURVE: the server's secret certificate, and the folder of public certificates that may connect, with roles."""

    server_secret_file: Annotated[Path, Field(strict=False)]
    clients_dir: Annotated[Path, Field(strict=False)]


class ClientKeySettings(Settings):
    """CURVE: a consumer's own secret certificate, and the service's public one."""

    secret_file: Annotated[Path, Field(strict=False)]
    server_public_file: Annotated[Path, Field(strict=False)]


class WireSettings(Settings):
    """Where verdicts are published (PUB), where a consumer catches up and where commands are taken (ROUTER)."""

    publish: Endpoint = "tcp://127.0.0.1:5570"
    serve: Endpoint = "tcp://127.0.0.1:5571"
    commands: Endpoint | None = Field(default=None, description="none: no commands are taken")
    heartbeat_hz: float = Field(default=10.0, gt=0, le=100)
    send_high_water: int = Field(
        default=2_000,
        ge=10,
        description="messages kept for a subscriber that is slow; then it misses some, and can tell",
    )
    keys: KeySettings | None = None
    role_without_keys: Annotated[Role, Field(strict=False)] = Field(
        default=Role.ENGINEER, description="of every process on this host, where there are no keys"
    )

    @model_validator(mode="after")
    def _has_one_source_of_roles(self) -> Self:
        if self.keys is not None and "role_without_keys" in self.model_fields_set:
            raise ValueError("role_without_keys says nothing where there are [wire.keys]: each key has its role")
        return self
