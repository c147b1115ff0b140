"""A server's certificate and key, tried by a handshake in memory: do they fit, for whom, and until when?"""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from linewatch.contracts.errors import ConfigError

_ROUNDS: Final = 10
"""A handshake of TLS 1.3 takes three."""


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """names: DNS names and IP addresses it is for. until: its last second, in UTC."""

    names: tuple[str, ...]
    until: datetime

    @property
    def days_left(self) -> int:
        """Whole days until it expires; negative afterwards."""
        return (self.until - datetime.now(UTC)).days

    def __str__(self) -> str:
        return f"for {', '.join(self.names) or 'no name'}, valid until {self.until:%Y-%m-%d} ({self.days_left} days)"


def read_server_certificate(certificate: Path, key: Path) -> ServerCertificate:
    """Return whom a certificate is for. Raises ConfigError where it does not fit its key or is not valid today."""
    try:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(str(certificate), str(key), password=lambda: b"")
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate alone vouches for itself here
        client.load_verify_locations(str(certificate))
        told = _presented(server, client)
    except ssl.SSLCertVerificationError as error:
        raise ConfigError(
            f"{certificate}: {error.verify_message}; expected a certificate that is valid today: have it issued again, "
            "or set this host's clock"
        ) from error
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"{certificate} and {key} cannot be used ({error}); expected a certificate and its unencrypted key, in PEM"
        ) from error
    names = tuple(name for kind, name in told.get("subjectAltName", ()) if kind in ("DNS", "IP Address"))
    until_s = ssl.cert_time_to_seconds(told["notAfter"])
    return ServerCertificate(names, datetime.fromtimestamp(until_s, UTC))


def _presented(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, Any]:
    """Shake hands in memory; return what the server presents."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    waiting = list(ends)
    for _ in range(_ROUNDS):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
        if not waiting:
            break
    return dict(ends[0].getpeercert() or {})
