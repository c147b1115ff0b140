"""`[tracing]`: where a service tells the way of a frame now and then."""

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from linewatch.config.address import is_loopback
from linewatch.config.base import Settings


def _is_this_host(name: str) -> bool:
    try:
        return is_loopback(name)
    except ValueError:  # a name, no address
        return name == "localhost"


class TracingSettings(Settings):
    """Traces of single frames for a collector of OpenTelemetry, by OTLP over HTTP. Needs the extra `tracing`."""

    endpoint: str = Field(
        default="http://127.0.0.1:4318/v1/traces", description="of the collector; another host needs https"
    )
    every_frames: int = Field(default=100, ge=1, le=1_000_000, description="one frame of so many is traced")
    ca_file: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="PEM; none: the authorities that this host trusts"
    )
    token_file: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="holds a bearer token for the collector; none: none is sent"
    )

    @model_validator(mode="after")
    def _is_closed_to_others(self) -> Self:
        url = urlsplit(self.endpoint)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(
                f"found endpoint {self.endpoint!r}, expected a URL such as http://127.0.0.1:4318/v1/traces; correct it"
            )
        if url.scheme == "http" and not _is_this_host(url.hostname):
            raise ValueError(
                f"endpoint {self.endpoint} leaves this host unencrypted; use https, or a collector on this host"
            )
        return self
