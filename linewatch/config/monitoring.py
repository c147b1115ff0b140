"""`[monitoring]`: where a process tells its figures to Prometheus."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from linewatch.config.address import HostAddress, is_loopback
from linewatch.config.base import Settings


class MonitoringSettings(Settings):
    """An HTTP endpoint of this process, `/metrics`, in the formats of OpenMetrics and Prometheus.

    An address that other hosts reach needs a certificate and a token.
    """

    address: HostAddress = Field(
        default="127.0.0.1", description="beyond this host, certificate_file, key_file and token_file are needed"
    )
    port: int = Field(ge=0, le=65535, description="0: any free one, which the log names")
    certificate_file: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="PEM, with its chain; none: http, on this host alone"
    )
    key_file: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="PEM, readable by this user alone"
    )
    token_file: Annotated[Path, Field(strict=False)] | None = Field(
        default=None,
        description="holds the bearer token that a scraper must send, at least 16 characters; none: none is asked for, "
        "on this host alone",
    )

    @model_validator(mode="after")
    def _is_closed_to_others(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together; name both, or neither")
        open_to_others = not is_loopback(self.address)
        if open_to_others and (self.certificate_file is None or self.token_file is None):
            raise ValueError(
                f"address {self.address} is reached by other hosts; name certificate_file, key_file and token_file, or "
                "listen on 127.0.0.1"
            )
        return self
