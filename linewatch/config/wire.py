"""`[wire]`: the sockets, and the keys that anything but loopback needs."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from linewatch.config.base import Settings

Endpoint = Annotated[
    str, Field(pattern=r"^(tcp://[^:/]+:[0-9]{1,5}|tcp://\[[0-9a-fA-F:]+\]:[0-9]{1,5}|tcp://[^:/]+:\*|ipc://.+)$")
]


class KeySettings(Settings):
    """CURVE: the server's secret certificate, and the folder of public certificates that may connect."""

    server_secret_file: Annotated[Path, Field(strict=False)]
    clients_dir: Annotated[Path, Field(strict=False)]


class WireSettings(Settings):
    """Where verdicts are published (PUB) and where a consumer catches up (ROUTER)."""

    publish: Endpoint = "tcp://127.0.0.1:5570"
    serve: Endpoint = "tcp://127.0.0.1:5571"
    heartbeat_hz: float = Field(default=10.0, gt=0, le=100)
    send_high_water: int = Field(
        default=2_000,
        ge=10,
        description="messages kept for a subscriber that is slow; then it misses some, and can tell",
    )
    keys: KeySettings | None = None
