"""The configuration file of `linewatch hmi`."""

from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, model_validator

from linewatch.client import ClientKeys
from linewatch.config.address import HostAddress, is_loopback
from linewatch.config.base import Settings
from linewatch.config.wire import ClientKeySettings, PeerEndpoint
from linewatch.contracts.signer import Signer
from linewatch.plant.settings import BridgeSettings, CommandSettings, FollowedServiceSettings


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{text!r} is no time zone; write one such as Europe/Berlin or UTC") from error
    return text


class PageListenSettings(Settings):
    """`[listen]`: where browsers connect."""

    address: HostAddress = Field(
        default="127.0.0.1",
        description="an address that other hosts reach needs [tls] and a password (`linewatch hmi-password`)",
    )
    port: int = Field(default=8088, ge=0, le=65535, description="0: any free one, which the log names")

    @property
    def is_loopback(self) -> bool:
        """Whether only this host can connect."""
        return is_loopback(self.address)


class PageTlsSettings(Settings):
    """`[tls]`: the page's certificate, with which browsers use https."""

    certificate_file: Annotated[Path, Field(strict=False)] = Field(description="PEM, with its chain")
    key_file: Annotated[Path, Field(strict=False)] = Field(description="PEM, readable by this user alone")


class PageAccessSettings(Settings):
    """`[access]`: who may log in, and for how long."""

    people_file: Annotated[Path, Field(strict=False)] = Field(
        default=Path("out/hmi/people.json"),
        description="names, roles and hashed passwords; written by `linewatch hmi-password`",
    )
    session_h: float = Field(
        default=12.0, gt=0, le=744, description="hours after the last request at which a person is logged out"
    )


class PageCameraSettings(Settings):
    """`[[camera]]`: a camera of a joined strip, whose newest picture the live page shows."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}/[A-Za-z0-9_.-]{1,64}$", description="SIDE/CAMERA")
    serve: PeerEndpoint = Field(description="[wire] serve of the camera's service")
    keys: ClientKeySettings | None = Field(default=None, description="needed where that service has [wire.keys]")

    @property
    def client_keys(self) -> ClientKeys | None:
        """The key files as the client takes them."""
        return ClientKeys(self.keys.secret_file, self.keys.server_public_file) if self.keys else None


class HmiSettings(BridgeSettings):
    """The whole file that `linewatch hmi` reads."""

    service: FollowedServiceSettings = FollowedServiceSettings()
    line_name: str = Field(default="", max_length=64, description="the line's name, in the page's head")
    time_zone: Annotated[str, AfterValidator(_zone)] = Field(
        default="UTC", description="the plant's zone, in which the page gives all times; the page states it"
    )
    taxonomy: Annotated[Path, Field(strict=False)] | None = Field(
        default=None,
        description="the services' file of classes: its order gives each class its colour and shape, on every page",
    )
    language: Literal["en", "de"] = Field(
        default="en", description="where a browser asks for neither of them; each person may choose"
    )
    listen: PageListenSettings = PageListenSettings()
    tls: PageTlsSettings | None = Field(default=None, description="none: http, on this host alone")
    access: PageAccessSettings = PageAccessSettings()
    commands: CommandSettings | None = Field(default=None, description="none: the page shows, and nobody acts on it")
    history: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="configuration of `linewatch history`, whose records the page shows; none: no past"
    )
    engines_dir: Annotated[Path, Field(strict=False)] = Field(
        default=Path("engines"),
        description="folder of the services' engines, of which one shows on request where it saw a defect",
    )
    trusted_signers: Annotated[tuple[Signer, ...], Field(strict=False)] = Field(
        default=(),
        description="as in [inference] of the services: the page runs only engines that one of these signed; none: any",
    )
    camera: Annotated[tuple[PageCameraSettings, ...], Field(strict=False)] = Field(
        default=(), description="of a joined strip; none: the service's own camera"
    )

    @model_validator(mode="after")
    def _is_closed_to_others(self) -> Self:
        if not self.listen.is_loopback and self.tls is None:
            raise ValueError(
                f"[listen] address {self.listen.address} is reached by other hosts, and passwords would cross the "
                "network in clear; add [tls], or listen on 127.0.0.1"
            )
        return self
