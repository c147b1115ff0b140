"""One connection to a broker: opened, used and closed by one thread, which nothing holds up for long.

paho's own thread is not used: the next will, credentials and certificates are read for each connection, a wake-up from
another thread costs no poll, and whatever a broker sends ends the connection and never the thread.
"""

import select
import socket
import ssl
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from linewatch.contracts.errors import ConfigError
from linewatch.plant.mqtt.settings import BrokerSettings

OPEN_S: Final = 5.0
"""How long a broker may take to be reached, for TLS, and to answer CONNECT, each."""
MAX_IN_FLIGHT: Final = 100
"""Messages with QoS 1 that may be unconfirmed, unless the broker allows fewer."""
MAX_PACKET_BYTES: Final = 64 << 10
"""What a broker may send at once (MQTT 5)."""


class BrokerError(Exception):
    """The broker cannot be reached, refuses, or was lost. The message says why, without secrets."""


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes when the connection breaks."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message from the broker."""

    topic: str
    payload: bytes
    retain: bool
    response_topic: str | None = None
    correlation: bytes | None = None


class BrokerListener(Protocol):
    """Is told what comes from the broker, in the thread of the connection."""

    def greeted(self) -> None:
        """Take note that the broker has been sent CONNECT with the will."""

    def arrived(self, message: Arrived) -> None:
        """Take a message of a subscribed topic."""

    def confirmed(self, number: int, refused: str | None) -> None:
        """Take the broker's answer to what `publish` or `ask` returned a number for. refused: why, if it was."""


def read_password(path: Path) -> str:
    """Return the first line of a password file. Raises ConfigError, also where others can read or change the file."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        first = path.read_text("utf-8").split("\n", 1)[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{path}: the password cannot be read ({why}); expected it on the first line") from None
    _private(path, mode, "password")
    if not first:
        raise ConfigError(f"{path}: its first line is empty, expected the password")
    return first


def tls_context(settings: BrokerSettings) -> ssl.SSLContext:
    """Return what proves the broker to the bridge, by its name too. Raises ConfigError for files that are unusable."""
    tls = settings.tls
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{tls.ca_file}: no certificates in PEM ({_reason(error)}); name the broker's CA") from error
    if tls.cert_file is not None and tls.key_file is not None:
        try:
            _private(tls.key_file, stat.S_IMODE(tls.key_file.stat().st_mode), "secret key")
            context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: "")
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ConfigError(
                f"{tls.cert_file} and {tls.key_file}: no certificate with its key in PEM ({_reason(error)}), "
                "expected both, without a passphrase"
            ) from error
    return context


class BrokerConnection:
    """Opened by its making. Raises BrokerError then and from every method once the connection is lost."""

    def __init__(
        self,
        settings: BrokerSettings,
        face: str,
        will: Will | None,
        peer: BrokerListener,
        wake: socket.socket,
        *,
        v5: bool,
    ) -> None:
        """face: ends the client's id. wake: readable when another thread wants `turn` to return."""
        self._settings, self._peer, self._wake = settings, peer, wake
        self._lost: str | None = None
        self._open = False
        self.in_flight_allowed = MAX_IN_FLIGHT
        """Messages with QoS 1 that may be unconfirmed."""
        version = MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311
        client = self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            f"{settings.client_id}-{face}",
            protocol=version,
            clean_session=None if v5 else True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = OPEN_S
        client.max_inflight_messages_set(MAX_IN_FLIGHT)
        if will is not None:
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = lambda _client, _data, number, _codes, _properties: peer.confirmed(number, None)
        try:
            self._connect(v5=v5)
        except BaseException:
            self.abandon()
            raise

    def turn(self, wait_s: float) -> None:
        """Send and receive what is due. Returns after `wait_s`, or when woken, or when something came."""
        client = self._client
        connection = client.socket()
        if connection is None:
            raise BrokerError(self._lost or "the connection was closed")
        pending = isinstance(connection, ssl.SSLSocket) and connection.pending() > 0
        writing = [connection] if client.want_write() else []
        try:
            readable, writable, _ = select.select(
                [connection, self._wake], writing, [], 0.0 if pending else max(0.0, wait_s)
            )
            if self._wake in readable:
                self._wake.recv(4096)
            if pending or connection in readable:
                client.loop_read()
            if connection in writable:
                client.loop_write()
            client.loop_misc()
        except Exception as error:  # whatever bytes a broker sends
            raise BrokerError(_reason(error)) from error
        if self._lost is not None:
            raise BrokerError(self._lost)

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool, expires_s: float | None = None) -> int:
        """Send a message; return its number. expires_s: the broker forgets it then (MQTT 5, else never)."""
        properties = None
        if expires_s is not None and self._client.protocol == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.PUBLISH)
            properties.MessageExpiryInterval = max(1, round(expires_s))
        return self._publish(topic, payload, qos, retain, properties)

    def reply(self, topic: str, payload: bytes, correlation: bytes | None) -> int:
        """Send the answer to a message with MQTT 5's correlation data; return its number."""
        properties = None
        if correlation is not None:
            properties = Properties(PacketTypes.PUBLISH)
            properties.CorrelationData = correlation
        return self._publish(topic, payload, 1, False, properties)

    def subscribe(self, topics: Sequence[str]) -> None:
        """Subscribe with QoS 1. A broker that refuses ends the connection.

        With MQTT 5, a message that was sent as retained says so even when it comes at once.
        """
        if self._client.protocol == MQTTProtocolVersion.MQTTv5:
            options = SubscribeOptions(qos=1, retainAsPublished=True)
            code, _ = self._client.subscribe([(topic, options) for topic in topics])
        else:
            code, _ = self._client.subscribe([(topic, 1) for topic in topics])
        self._told(code)

    def ask(self) -> int:
        """Ask something that changes nothing; the broker's answer says that it has everything that was sent before."""
        code, number = self._client.unsubscribe(f"{self._settings.client_id}/never/subscribed")
        self._told(code)
        assert number is not None
        return number

    def close(self) -> None:
        """Say goodbye: the broker does not publish the will."""
        self._client.disconnect()
        self.abandon()

    def abandon(self) -> None:
        """Close without goodbye: the broker publishes the will, where it had a connection."""
        if (connection := self._client.socket()) is not None:
            connection.close()

    def _connect(self, *, v5: bool) -> None:
        settings, client = self._settings, self._client
        host, port = settings.address
        properties = None
        try:
            if settings.user is not None:
                password = read_password(settings.password_file) if settings.password_file else None
                client.username_pw_set(settings.user, password)
            if settings.encrypted:
                client.tls_set_context(tls_context(settings))
            if v5:
                properties = Properties(PacketTypes.CONNECT)
                properties.MaximumPacketSize = MAX_PACKET_BYTES
            started: dict[str, Any] = {"clean_start": True, "properties": properties} if v5 else {}
            client.connect(host, port, settings.keepalive_s, **started)
            self._peer.greeted()
        except ConfigError as error:
            raise BrokerError(str(error)) from error
        except (OSError, ValueError) as error:
            raise BrokerError(_reason(error)) from error
        ends_s = time.monotonic() + OPEN_S
        while not self._open:
            if time.monotonic() > ends_s:
                raise BrokerError(f"it takes connections and does not answer within {OPEN_S:g} s")
            self.turn(0.05)

    def _publish(self, topic: str, payload: bytes, qos: int, retain: bool, properties: Properties | None) -> int:
        try:
            sent = self._client.publish(topic, payload, qos, retain, properties)
        except (OSError, ValueError) as error:
            raise BrokerError(_reason(error)) from error
        self._told(sent.rc)
        return sent.mid

    def _told(self, code: mqtt.MQTTErrorCode) -> None:
        if code != mqtt.MQTT_ERR_SUCCESS:
            raise BrokerError(self._lost or mqtt.error_string(code))

    def _on_connect(self, _client: object, _data: object, _flags: object, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._lost = f"the broker refuses: {reason}"
            return
        self._open = True
        allowed = getattr(properties, "ReceiveMaximum", None) or MAX_IN_FLIGHT
        self.in_flight_allowed = min(allowed, MAX_IN_FLIGHT)

    def _on_disconnect(self, _client: object, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        self._lost = self._lost or f"the connection was lost: {reason}"

    def _on_message(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        properties = message.properties
        self._peer.arrived(
            Arrived(
                topic,
                bytes(message.payload),
                bool(message.retain),
                getattr(properties, "ResponseTopic", None),
                getattr(properties, "CorrelationData", None),
            )
        )

    def _on_publish(self, _client: object, _data: object, number: int, reason: Any, _properties: object) -> None:
        self._peer.confirmed(number, str(reason) if reason is not None and reason.is_failure else None)

    def _on_subscribe(self, _client: object, _data: object, _number: int, reasons: Any, _properties: object) -> None:
        if refused := [str(reason) for reason in reasons if reason.is_failure]:
            self._lost = f"the broker refuses a subscription: {refused[0]}; let the user read the topics"


def _private(path: Path, mode: int, what: str) -> None:
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise ConfigError(
            f"{path} has mode {mode:04o}: others on this host can read or change the {what}; expected 0600: "
            f"chmod 600 {path}"
        )


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return f"no answer within {OPEN_S:g} s"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return f"{type(error).__name__}: {error}"
