"""The configuration file of an OPC UA bridge: where clients connect, who they are, and what they may do."""

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from linewatch.config.address import HostAddress
from linewatch.config.base import Settings
from linewatch.contracts.access import Role
from linewatch.plant.settings import BridgeSettings, CommandSettings

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,39}")


def _host_name(text: str) -> str:
    if text and not _HOST.fullmatch(text):
        raise ValueError(f"{text!r} is not a host name; write the name or address that clients connect to")
    return text


def _fingerprint(text: str) -> str:
    plain = text.replace(":", "").lower()
    if not _FINGERPRINT.fullmatch(plain):
        raise ValueError(f"{text!r} is not a SHA-256 fingerprint; copy it from `linewatch opcua-trust`")
    return plain


def _shown_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a name; expected up to 40 letters, digits, spaces, '_', '.' and '-'")
    return text


ShownName = Annotated[str, AfterValidator(_shown_name)]


class OpcuaListenSettings(Settings):
    """`[listen]`: where OPC UA clients connect, and how much they may hold open.

    Every session is signed and encrypted (Basic256Sha256), from a client whose certificate is trusted.
    """

    address: HostAddress = Field(default="127.0.0.1", description="address of this host to bind; 0.0.0.0: all of them")
    port: int = Field(default=4840, ge=0, le=65535, description="0: any free port, which the log names")
    host: Annotated[str, AfterValidator(_host_name)] = Field(
        default="",
        description="name or address by which clients reach this host; it stands in the endpoint's URL and in the "
        "certificate. Empty: this host's name",
    )
    sessions: int = Field(default=32, ge=1, le=500, description="sessions at a time")
    subscriptions: int = Field(default=64, ge=1, le=1_000, description="subscriptions at a time, of all sessions")
    monitored_items: int = Field(
        default=4_000, ge=1, le=20_000, description="monitored items at a time, of all subscriptions"
    )


class OpcuaUser(Settings):
    """`[[user]]`: a user of the OPC UA server, who proves the name by a password or by a certificate."""

    name: ShownName = Field(description="name of the user")
    role: Annotated[Role, Field(strict=False)] = Field(
        description="observer: read and subscribe; operator: also handle alarms and coils"
    )
    password_hash: str | None = Field(
        default=None, pattern=r"^\$argon2id\$", repr=False, description="from `linewatch opcua-password`"
    )
    certificate_sha256: Annotated[str, AfterValidator(_fingerprint)] | None = Field(
        default=None, description="SHA-256 fingerprint of the user's certificate"
    )

    @model_validator(mode="after")
    def _can_be_proven(self) -> Self:
        if (self.password_hash is None) == (self.certificate_sha256 is None):
            raise ValueError(
                f"user {self.name!r}: expected either password_hash (from `linewatch opcua-password`) or "
                "certificate_sha256"
            )
        return self


class OpcuaSettings(BridgeSettings):
    """`linewatch bridge opcua CONFIG` reads exactly this."""

    system: ShownName = Field(
        default="linewatch", description="name of the vision system, of the server and in its application URI"
    )
    pki_dir: Annotated[Path, Field(strict=False)] = Field(
        default=Path("out/opcua-pki"),
        description="folder of the server's certificate and key, which the first start makes, and of the trust list",
    )
    listen: OpcuaListenSettings = OpcuaListenSettings()
    anonymous: bool = Field(
        default=False, description="true: trusted clients may read and subscribe without a user's name"
    )
    user: Annotated[tuple[OpcuaUser, ...], Field(strict=False)] = Field(default=(), description="one for each user")
    commands: CommandSettings | None = Field(
        default=None, description="lets operators handle alarms and coils; none: the server is read-only"
    )
    simulated: bool = Field(
        default=False, description="true: mark results as simulated, whatever the service is; a replay always is"
    )
    results_kept: int = Field(
        default=500, ge=1, le=10_000, description="results of coils that clients can list; older ones are forgotten"
    )
    newest_defects: int = Field(default=20, ge=1, le=100, description="slots of the newest defects")

    @model_validator(mode="after")
    def _someone_can_connect(self) -> Self:
        names = [user.name for user in self.user]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"user {name!r} stands here {names.count(name)} times; give each user one [[user]]")
        if not self.user and not self.anonymous:
            raise ValueError("nobody could connect: add a [[user]], or set anonymous = true for reading")
        return self
