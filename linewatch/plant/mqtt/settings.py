"""The configuration file of an MQTT bridge: its broker, its faces, and what the plant may command."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from linewatch.config.base import Settings
from linewatch.plant.settings import BridgeSettings, CommandSettings
from linewatch.plant.store import StoreSettings
from linewatch.wire.schema import KEPT_TOPICS, Topic

PORTS = {"mqtt": 1883, "mqtts": 8883}
_NAME = re.compile(r"[^\x00-\x1f\x7f+#/]{1,64}")


def _broker_url(text: str) -> str:
    remedy = "write mqtts://HOST:PORT, or mqtt://HOST:PORT without TLS"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"not the address of a broker; {remedy}") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"holds a login; {remedy}, and name user and password_file instead")
    if parts.scheme not in PORTS or not parts.hostname or port == 0 or parts.path not in ("", "/") or parts.query:
        raise ValueError(f"{text!r} is not the address of a broker; {remedy}")
    return text


def _topic_prefix(text: str) -> str:
    levels = text.split("/")
    if not all(_NAME.fullmatch(level) for level in levels) or len(text) > 200 or text.startswith("$"):
        raise ValueError(f"{text!r} cannot begin a topic; write levels without +, # or $ in front, as linewatch/line1")
    return text


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not one level of a topic; leave out +, # and /")
    return text


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


BrokerUrl = Annotated[str, AfterValidator(_broker_url)]
TopicPrefix = Annotated[str, AfterValidator(_topic_prefix)]
TopicLevel = Annotated[str, AfterValidator(_name)]
OptionalFile = Annotated[Path | None, Field(strict=False)]


class TlsSettings(Settings):
    """`[broker.tls]`: how the broker proves who it is, and the bridge to it."""

    ca_file: OptionalFile = Field(
        default=None, description="certificates that sign the broker's, in PEM; none: those that the host trusts"
    )
    cert_file: OptionalFile = Field(
        default=None, description="the bridge's own certificate in PEM, for a broker that asks for one"
    )
    key_file: OptionalFile = Field(default=None, description="its secret key, readable by its owner alone")

    @model_validator(mode="after")
    def _is_a_pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together; give both, or neither")
        return self


class BrokerSettings(Settings):
    """`[broker]`: the broker that the bridge connects to."""

    url: BrokerUrl = Field(
        default="mqtt://127.0.0.1:1883",
        description="mqtts://HOST:PORT with TLS, by default port 8883; mqtt://HOST:PORT without, by default port 1883",
    )
    plaintext_allowed: bool = Field(
        default=False,
        description="must be true for mqtt:// to another host: everyone on the way reads and writes",
    )
    client_id: Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{1,15}$")] = Field(
        default="linewatch",
        description="name of the bridge at the broker, to which -plain or -spb is added; no two bridges may have the "
        "same, since a broker ends the older connection of a name",
    )
    user: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        default=None, description="none: anonymous"
    )
    password_file: OptionalFile = Field(
        default=None, description="file with the user's password on its first line, readable by its owner alone"
    )
    keepalive_s: int = Field(
        default=10,
        ge=2,
        le=600,
        description="a broker that is silent for twice as long is given up, and the bridge connects again",
    )
    tls: TlsSettings = TlsSettings()

    @property
    def encrypted(self) -> bool:
        """Whether the connection has TLS."""
        return self.url.startswith("mqtts:")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        return parts.hostname, parts.port or PORTS[parts.scheme]

    @model_validator(mode="after")
    def _is_encrypted_or_meant(self) -> Self:
        if not self.encrypted and not self.plaintext_allowed and not _is_loopback(self.address[0]):
            raise ValueError(
                f"url {self.url!r} sends passwords, results and commands without encryption to another host; "
                "use mqtts://, or set plaintext_allowed = true if that is intended"
            )
        if not self.encrypted and self.tls != TlsSettings():
            raise ValueError(f"[broker.tls] does not apply to url {self.url!r}; use mqtts://, or remove the section")
        if self.password_file is not None and self.user is None:
            raise ValueError("password_file needs a user; add user, or remove password_file")
        return self


class PlainSettings(Settings):
    """`[plain]`: topics with JSON. Without this section there are none."""

    prefix: TopicPrefix = Field(
        default="linewatch/line1", description="first levels of every topic; each line needs its own"
    )
    topics: Annotated[tuple[Annotated[Topic, Field(strict=False)], ...], Field(strict=False)] = Field(
        default=tuple(topic for topic in KEPT_TOPICS if topic is not Topic.FRAME),
        description="messages of the service that are published as they are; `frame` is one message a frame",
    )
    state_s: float = Field(
        default=0.25, ge=0.05, le=60, description="from one message of the topic `state` to the next, at the least"
    )

    @model_validator(mode="after")
    def _can_be_kept(self) -> Self:
        if wrong := [topic.value for topic in self.topics if topic not in KEPT_TOPICS]:
            raise ValueError(f"topics {wrong} cannot be published; expected some of {', '.join(KEPT_TOPICS)}")
        return self


class SparkplugSettings(Settings):
    """`[sparkplug]`: an edge node with one device after Sparkplug B 3.0. Without this section there is none."""

    group: TopicLevel = Field(default="mill", description="Group ID")
    node: TopicLevel = Field(default="linewatch", description="Edge Node ID; unique in its group")
    device: TopicLevel = Field(default="line1", description="Device ID: the inspected line")
    primary_host: TopicLevel | None = Field(
        default=None,
        description="Host ID of the Primary Host, while whose absence the bridge stores; none: not awaited",
    )
    state_s: float = Field(default=0.25, ge=0.05, le=60, description="metrics that changed are sent at most so often")


class PlantCommandSettings(CommandSettings):
    """`[commands]`: lets the plant acknowledge, shelve, and tell of coils by MQTT. Without it nothing is subscribed.

    Whoever may publish to the command topic commands: the broker's access list is what guards it.
    """

    fresh_s: float = Field(
        default=30.0,
        ge=1,
        le=3600,
        description="a command is refused when its `at_unix_ms` is further from the bridge's clock, either way",
    )


class MqttSettings(BridgeSettings):
    """`linewatch bridge mqtt CONFIG` reads exactly this."""

    broker: BrokerSettings = BrokerSettings()
    store: StoreSettings = StoreSettings(file=Path("out/mqtt.sqlite"))
    plain: PlainSettings | None = None
    sparkplug: SparkplugSettings | None = None
    commands: PlantCommandSettings | None = None

    @property
    def faces(self) -> tuple[str, ...]:
        """The names of the configured faces, by which each has its place in the store."""
        return ("plain",) * (self.plain is not None) + ("spb",) * (self.sparkplug is not None)

    @model_validator(mode="after")
    def _has_a_face(self) -> Self:
        if self.plain is None and self.sparkplug is None:
            raise ValueError("there is nothing to publish; add the section [plain], [sparkplug] or both")
        return self
