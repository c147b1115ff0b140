"""The HTTP endpoint that Prometheus reads, on threads of its own: nothing that a peer does holds up the process."""

import hmac
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from linewatch.config.monitoring import MonitoringSettings
from linewatch.contracts.errors import ConfigError, WireError

log = structlog.get_logger()

PATH: Final = "/metrics"
CONNECTIONS: Final = 8
"""At a time; one more is closed at once."""
CONNECTION_S: Final = 10.0
"""A connection is closed after so long, whatever it does."""
_STALLED_S: Final = 5.0
_LEAST_TOKEN: Final = 16

Families = Callable[[], Iterable[Metric]]
"""Makes the families of figures as they are now. Called from any thread; it must not wait."""


@contextmanager
def monitored(settings: MonitoringSettings | None, *families: Families) -> Iterator[None]:
    """Answer scrapes with these families, and with those of the process, until the end of the block.

    settings: None: nothing listens. Raises ConfigError for a certificate or a token that cannot be used, and
    WireError where the address cannot be bound.
    """
    if settings is None:
        yield
        return
    registry = _registry(families)
    token = read_token(settings.token_file) if settings.token_file else None
    context = _tls(settings) if settings.certificate_file else None
    try:
        server = _Server(settings, context, token, registry)
    except OSError as error:
        raise WireError(
            f"cannot listen on {settings.address}, port {settings.port}: {error.strerror}; choose another [monitoring] "
            "port"
        ) from error
    thread = threading.Thread(target=server.serve_forever, args=(0.2,), name="monitoring", daemon=True)
    thread.start()
    log.info("monitoring", address=settings.address, port=server.server_address[1], tls=context is not None)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class _Figures(Collector):
    def __init__(self, made: Families) -> None:
        self._made = made

    def describe(self) -> Iterable[Metric]:
        return ()  # or it would be asked for its figures before there are any

    def collect(self) -> Iterable[Metric]:
        return self._made()


def _registry(families: Iterable[Families]) -> CollectorRegistry:
    registry = CollectorRegistry()
    for kind in (ProcessCollector, PlatformCollector, GCCollector):
        kind(registry=registry)
    for made in families:
        registry.register(_Figures(made))
    return registry


def read_token(path: Path, section: str = "[monitoring]") -> bytes:
    """Return the bearer token that a file holds. section: that names the file. Raises ConfigError."""
    try:
        token = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"{section} token_file {path}: cannot be read ({error.strerror}); write one") from error
    if len(token) < _LEAST_TOKEN or not token.isascii():
        raise ConfigError(
            f"{section} token_file {path}: found {len(token)} bytes, expected at least {_LEAST_TOKEN} ASCII "
            "characters; write one, for example by openssl rand -hex 32"
        )
    return token


def _tls(settings: MonitoringSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(str(settings.certificate_file), settings.key_file, password=lambda: b"")
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"[monitoring] {settings.certificate_file} and {settings.key_file} cannot be used ({error}); expected a "
            "certificate and its unencrypted key, both PEM"
        ) from error
    return context


class _Server(ThreadingHTTPServer):
    """Serves at most CONNECTIONS at a time, each for at most CONNECTION_S."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(
        self,
        settings: MonitoringSettings,
        tls: ssl.SSLContext | None,
        token: bytes | None,
        registry: CollectorRegistry,
    ) -> None:
        if ipaddress.ip_address(settings.address).version == 6:
            self.address_family = socket.AF_INET6
        self.token, self.registry = token, registry
        self._tls = tls
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        super().__init__((settings.address, settings.port), _Scrape)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        with self._lock:
            if len(self._open) >= CONNECTIONS:
                return False
            self._open[request] = time.monotonic()
        return True

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(_STALLED_S)
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        with self._tls.wrap_socket(request.dup(), server_side=True) as secured:  # on the connection's own thread
            super().finish_request(secured, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Close what has been open for too long; its thread ends by itself."""
        with self._lock:
            late = [one for one, since_s in self._open.items() if time.monotonic() - since_s > CONNECTION_S]
        for one in late:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: peers break connections, send junk, and fail handshakes."""


class _Scrape(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "linewatch", ""

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self._answer(HTTPStatus.NOT_FOUND, f"figures are at {PATH}\n".encode())
        elif not self._may_read():
            self._answer(HTTPStatus.UNAUTHORIZED, b"a bearer token is needed\n", headers={"WWW-Authenticate": "Bearer"})
        else:
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._answer(HTTPStatus.OK, encode(self.server.registry), content_type)

    def _may_read(self) -> bool:
        if self.server.token is None:
            return True
        given = self.headers.get("Authorization", "").encode("utf-8", "replace")
        return hmac.compare_digest(given, b"Bearer " + self.server.token)

    def _answer(
        self, status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8", *, headers: Any = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
