"""Everything that the configuration of an MQTT bridge names, tried."""

import socket

from linewatch.check.attempts import read_file, write_into
from linewatch.check.others import check_keys
from linewatch.check.trials import Trials
from linewatch.contracts.errors import SourceError
from linewatch.plant.mqtt.settings import BrokerSettings, MqttSettings
from linewatch.terminal import extra


def check_mqtt(settings: MqttSettings, trials: Trials, owner: int | None) -> None:
    """Try the store, the keys, and a connection to the broker. owner: the process that runs this configuration."""
    store, broker = settings.store, settings.broker
    folder = store.file.parent
    trials.attempt("store", "file", store.file, lambda: write_into(folder, store.max_mb), writes=folder)
    for section, key, path in (
        ("broker", "password_file", broker.password_file),
        ("broker.tls", "ca_file", broker.tls.ca_file),
        ("broker.tls", "cert_file", broker.tls.cert_file),
        ("broker.tls", "key_file", broker.tls.key_file),
    ):
        if path is not None:
            trials.attempt(section, key, path, lambda path=path: read_file(path), reads=path)  # type: ignore[misc]
    with extra("plant"):
        trials.attempt("broker", "url", broker.url, lambda: _connected(broker))
    if (keys := settings.service.keys) is not None:
        check_keys("service", keys.secret_file, keys.server_public_file, trials)


class _Silent:
    """A peer that subscribes to nothing."""

    def greeted(self) -> None:
        pass

    def arrived(self, message: object) -> None:
        pass

    def confirmed(self, number: int, refused: str | None) -> None:
        pass


def _connected(settings: BrokerSettings) -> str:
    """Connect under a name of its own, so that a bridge that runs keeps its connection. Raises SourceError."""
    from linewatch.plant.mqtt.broker import BrokerConnection, BrokerError

    wake, woken = socket.socketpair()
    with wake, woken:
        try:
            BrokerConnection(settings, "check", None, _Silent(), woken, v5=True).close()
        except BrokerError as error:
            raise SourceError(f"{error}; start the broker, or correct [broker]") from error
    how = "with TLS, and its certificate is good" if settings.encrypted else "without TLS"
    return f"connected {how}, as {settings.user or 'nobody'}"
