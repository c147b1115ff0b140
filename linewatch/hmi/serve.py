"""`linewatch hmi`: the process. The event loop answers browsers; threads follow the service, ask it and the history."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import Any

import structlog
import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from linewatch.config.history import HistorySettings
from linewatch.config.load import load
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.errors import ConfigError, WireError
from linewatch.hmi.access.people import People
from linewatch.hmi.access.sessions import Sessions
from linewatch.hmi.app import web_application
from linewatch.hmi.commands import PersonCommands
from linewatch.hmi.connections import BoundedHttp
from linewatch.hmi.feed.hub import Hub
from linewatch.hmi.feed.live_view import LiveView
from linewatch.hmi.feed.pictures import NewestPictures
from linewatch.hmi.hmi import Hmi
from linewatch.hmi.records import Records
from linewatch.hmi.settings import HmiSettings, PageTlsSettings
from linewatch.plant.follower import Follower
from linewatch.plant.health import LinkHealth
from linewatch.plant.process import BridgeProcess
from linewatch.wire.schema import DECIDED_TOPICS, Topic

log = structlog.get_logger()


def run_hmi(settings: HmiSettings, listening: Callable[[str], object] = lambda url: None) -> None:
    """Serve browsers until SIGTERM or SIGINT. listening: called with the page's URL once it can be opened.

    Raises ConfigError for people, certificates or a history that cannot be used, and WireError for a socket.
    """
    people = People(settings.access.people_file)
    if not len(people) and not settings.listen.is_loopback:
        raise ConfigError(
            f"[listen] address {settings.listen.address} is reached by other hosts, and nobody has a password in "
            f"{settings.access.people_file}; set a first one: linewatch hmi-password NAME --role engineer CONFIG"
        )
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # what clients do wrong is no event of ours
    asyncio.run(_serve(settings, people, listening))


async def _serve(settings: HmiSettings, people: People, listening: Callable[[str], object]) -> None:
    process, view = BridgeProcess("hmi", settings), LiveView()
    topics = (*DECIDED_TOPICS, Topic.CROP)
    follower: Follower[None] = Follower(
        settings.service, view, lambda: None, process.end, topics=topics, whole_coil=True
    )
    with ExitStack() as stack:
        listener = stack.enter_context(_listener(settings))
        pictures, records = NewestPictures(settings), Records(_history(settings))
        commands = PersonCommands(settings.commands, settings.service.client_keys)
        for part in (pictures, records, commands):
            stack.callback(part.close)
        hub = Hub(view, follower)
        sessions = Sessions(settings.access.session_h * 3600)
        hmi = Hmi(settings, view, hub, pictures, records, commands, people, sessions, _classes(settings))
        app, login = web_application(hmi)
        stack.callback(login.close)
        server = _Server(_config(app, settings))
        serving = asyncio.create_task(server.serve([listener]))
        pushing = asyncio.create_task(hub.run())
        for task in (serving, pushing):
            task.add_done_callback(lambda _: process.end())
        url = page_url(settings, listener)
        log.info("listening", url=url, tls=settings.tls is not None)
        listening(url)
        try:
            await process.run(follower, lambda: f"{len(hub)} browsers connected", lambda: LinkHealth(peers=len(hub)))
        finally:
            pushing.cancel()
            server.should_exit = server.force_exit = True
            for task in (serving, pushing):
                with suppress(asyncio.CancelledError):
                    await task


def page_url(settings: HmiSettings, listener: socket.socket) -> str:
    """Return the page's address for people."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.tls else 'http'}://{shown}:{port}/"


@contextmanager
def _listener(settings: HmiSettings) -> Iterator[socket.socket]:
    """Bind. Raises WireError where that is not possible."""
    address, port = settings.listen.address, settings.listen.port
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listener = socket.create_server((address, port), family=family, backlog=512)
    except OSError as error:
        raise WireError(
            f"cannot listen on {address}, port {port}: {error.strerror}; choose another [listen] port"
        ) from error
    with listener:
        yield listener


def _history(settings: HmiSettings) -> HistorySettings | None:
    return load(settings.history, HistorySettings) if settings.history is not None else None


def _classes(settings: HmiSettings) -> tuple[str, ...]:
    return tuple(Taxonomy.read(settings.taxonomy).classes) if settings.taxonomy is not None else ()


def _config(app: Any, settings: HmiSettings) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=BoundedHttp,
        ws=WebSocketsSansIOProtocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws_max_size=4096,
        ws_ping_interval=10.0,
        ws_ping_timeout=20.0,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=16 << 10,
    )
    config.load()
    if settings.tls is not None:
        config.ssl = tls_context(settings.tls)
    return config


def tls_context(tls: PageTlsSettings) -> ssl.SSLContext:
    """Return what serves https by this certificate. Raises ConfigError where it or its key cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.certificate_file, tls.key_file, password=lambda: b"")
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"[tls] {tls.certificate_file} and {tls.key_file} cannot be used ({error}); expected a certificate and its "
            "unencrypted key, both PEM"
        ) from error
    return context


class _Server(uvicorn.Server):
    """Ends when it is told to: the process has the signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True
