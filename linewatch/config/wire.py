"""`[wire]`: the sockets, and the keys that anything but loopback needs."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from linewatch.config.base import Settings

_ENDPOINT = re.compile(r"tcp://([^:/\[\]]+|\[[0-9a-fA-F:]+\]):([0-9]{1,5}|\*)|ipc://.+")


def _endpoint(text: str) -> str:
    if not _ENDPOINT.fullmatch(text):
        raise ValueError(f"{text!r} is not an endpoint; write tcp://HOST:PORT (PORT may be *) or ipc://PATH")
    return text


Endpoint = Annotated[str, AfterValidator(_endpoint)]


class KeySettings(Settings):
    """CURVE: the server's secret certificate, and the folder of public certificates that may connect."""

    server_secret_file: Annotated[Path, Field(strict=False)]
    clients_dir: Annotated[Path, Field(strict=False)]


class WireSettings(Settings):
    """Where verdicts are published (PUB), where a consumer catches up and where commands are taken (ROUTER)."""

    publish: Endpoint = "tcp://127.0.0.1:5570"
    serve: Endpoint = "tcp://127.0.0.1:5571"
    commands: Endpoint | None = Field(default=None, description="loopback or ipc only; none: no commands are taken")
    heartbeat_hz: float = Field(default=10.0, gt=0, le=100)
    send_high_water: int = Field(
        default=2_000,
        ge=10,
        description="messages kept for a subscriber that is slow; then it misses some, and can tell",
    )
    keys: KeySettings | None = None
