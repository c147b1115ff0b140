"""The settings that every bridge has: which service it follows, how it sends commands, and its log."""

from pydantic import Field

from linewatch.client import ClientKeys
from linewatch.config.base import Settings
from linewatch.config.log import LogSettings
from linewatch.config.monitoring import MonitoringSettings
from linewatch.config.wire import ClientKeySettings, PeerEndpoint
from linewatch.contracts.bounds import ShortText


class FollowedServiceSettings(Settings):
    """`[service]`: the service that the bridge follows."""

    publish: PeerEndpoint = Field(default="tcp://127.0.0.1:5570", description="[wire] publish of the service")
    serve: PeerEndpoint = Field(default="tcp://127.0.0.1:5571", description="[wire] serve of the service")
    keys: ClientKeySettings | None = Field(default=None, description="needed where the service has [wire.keys]")
    silence_s: float = Field(
        default=0.8, ge=0.2, le=10, description="after so long without a status message, the state is 0 (silent)"
    )

    @property
    def client_keys(self) -> ClientKeys | None:
        """The key files as the client takes them."""
        return ClientKeys(self.keys.secret_file, self.keys.server_public_file) if self.keys else None


class CommandSettings(Settings):
    """Where a bridge sends commands, and for how long it tries."""

    commands: PeerEndpoint = Field(description="[wire] commands of the service")
    give_up_s: float = Field(
        default=10.0, ge=1, le=300, description="after so long without an answer, a command counts as unanswered"
    )


class BridgeSettings(Settings):
    """Base of every bridge's configuration file."""

    name: ShortText | None = Field(
        default=None,
        description="of this bridge in the service's status; null: its protocol. Give each of several bridges of one "
        "protocol its own",
    )
    service: FollowedServiceSettings = FollowedServiceSettings()
    monitoring: MonitoringSettings | None = Field(default=None, description="none: no figures for Prometheus")
    log: LogSettings = LogSettings()
