"""`linewatch bridge opcua`: one thread follows the service, one sends commands, and the event loop answers clients.

None of them waits for another. What clients must not miss passes from the follower to the loop in a bounded queue.
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from threading import Event
from typing import Final

import structlog
from asyncua.crypto.uacrypto import der_from_x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from linewatch.contracts.errors import WireError
from linewatch.contracts.verdict import CoilState
from linewatch.plant.commands import CommandSender
from linewatch.plant.follower import Follower
from linewatch.plant.health import LinkHealth
from linewatch.plant.opcua.certificates import (
    EXPIRES_SOON_DAYS,
    OwnIdentity,
    TrustList,
    days_left,
    fingerprint,
    own_identity,
    why_not_valid,
)
from linewatch.plant.opcua.coil_data import add_coil_data_method
from linewatch.plant.opcua.commands import OpcuaCommands
from linewatch.plant.opcua.conditions import Conditions
from linewatch.plant.opcua.configuration import Configuration
from linewatch.plant.opcua.connections import GuardedServer
from linewatch.plant.opcua.machine import Machine
from linewatch.plant.opcua.model import Model, build_model
from linewatch.plant.opcua.past import past_coils
from linewatch.plant.opcua.results import Results, coil_result, result_id, when
from linewatch.plant.opcua.sessions import BoundedServer
from linewatch.plant.opcua.settings import OpcuaSettings
from linewatch.plant.opcua.users import UserList
from linewatch.plant.opcua.values import Values
from linewatch.plant.opcua.view import AlarmsNow, ClientValues, NewsQueue, OpcuaView
from linewatch.plant.process import BridgeProcess
from linewatch.wire.schema import AlarmMessage, CoilMessage

SHOW_EVERY_S: Final = 0.05
"""Values are written so often, and at once when something happens or a defect is called."""
GATHER_S: Final = 0.01
"""What comes within so long after values were written is written together."""

log = structlog.get_logger()


def run_bridge(settings: OpcuaSettings) -> None:
    """Serve OPC UA clients until SIGTERM or SIGINT.

    Raises WireError when a socket cannot be used or the service speaks another schema version, ConfigError when the
    certificates cannot be used.
    """
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # it logs lines for every malformed request
    asyncio.run(_serve(settings))


async def _serve(settings: OpcuaSettings) -> None:
    identity, trust = own_identity(settings), TrustList(settings.pki_dir)
    trust.make_folders()
    _tell_certificates(identity, trust)
    process, loop, woken = BridgeProcess("opcua", settings), asyncio.get_running_loop(), asyncio.Event()
    news = NewsQueue(lambda: loop.call_soon_threadsafe(woken.set))
    view = OpcuaView(news, settings.newest_defects)
    follower = Follower(settings.service, view, view.shown, process.end)
    sender = CommandSender(settings.commands, settings.service.client_keys, process.end) if settings.commands else None
    stop = Event()
    past = ThreadPoolExecutor(1, thread_name_prefix="past")
    try:
        server = await _server(settings, identity, trust)
        plant = await VisionSystem.built(settings, server, follower, sender)
        async with server:
            listening = server.bserver
            assert listening is not None
            log.info("listening", address=settings.listen.address, port=listening.port)
            shown = asyncio.create_task(plant.keep_shown(news, woken))
            shown.add_done_callback(lambda task: None if task.cancelled() else process.end())
            remembered = loop.run_in_executor(past, plant.remember, loop, stop)
            try:
                await process.run(
                    follower,
                    lambda: f"{server.connections} OPC UA clients connected",
                    lambda: LinkHealth(_trouble(identity), server.iserver.sessions, dropped=news.dropped),
                )
            finally:
                stop.set()
                shown.cancel()
                with suppress(asyncio.CancelledError):
                    await shown
                await remembered
    finally:
        stop.set()
        past.shutdown()
        if sender:
            sender.stop()


def _trouble(identity: OwnIdentity) -> str:
    why = why_not_valid(identity.certificate)
    return "" if why is None else f"clients refuse the server's certificate: {why}"


def _tell_certificates(identity: OwnIdentity, trust: TrustList) -> None:
    left_days = days_left(identity.certificate)
    (log.warning if left_days < EXPIRES_SOON_DAYS else log.info)(
        "opcua_certificate",
        sha256=fingerprint(identity.certificate),
        application_uri=identity.application_uri,
        valid_days=left_days,
        clients_trusted=len(trust.trusted()),
    )


async def _server(settings: OpcuaSettings, identity: OwnIdentity, trust: TrustList) -> GuardedServer:
    """Return the server with its certificate and endpoint, not listening yet."""
    users = UserList(settings.user, settings.anonymous)
    server = GuardedServer(BoundedServer(settings.listen, users), trust.why_refused)
    await server.init()
    await server.set_application_uri(identity.application_uri)
    server.product_uri, server.manufacturer_name = "urn:linewatch", "linewatch"
    server.set_server_name(settings.system)
    await server.load_certificate(der_from_x509(identity.certificate), "der")
    pem = identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    await server.load_private_key(pem, format="pem")
    host = settings.listen.host or settings.listen.address
    server.set_endpoint(f"opc.tcp://{host}:{settings.listen.port}/linewatch")
    server.socket_address = (settings.listen.address, settings.listen.port)
    return server


class VisionSystem:
    """What clients see, kept as the service is."""

    def __init__(
        self, settings: OpcuaSettings, model: Model, follower: Follower[ClientValues], sender: CommandSender | None
    ) -> None:
        self._settings = settings
        self._model = model
        self._follower = follower
        self._began: dict[str, datetime] = {}  # of the coil under way, by its result's id
        self._coil, self._job = "", ""
        self._newest = (-1, -1)
        self._conditions = Conditions(model)
        self._commands = OpcuaCommands(sender, self._conditions.unacknowledged)
        self._machine = Machine(model, self._commands, lambda: (self._coil, self._job))
        self._results = Results(model, settings.results_kept)
        self._configuration = Configuration(model)
        self._values = Values(model, settings.newest_defects)
        self._journal: str | None = None

    @classmethod
    async def built(
        cls,
        settings: OpcuaSettings,
        server: GuardedServer,
        follower: Follower[ClientValues],
        sender: CommandSender | None,
    ) -> "VisionSystem":
        """Build the address space, and let its methods be answered."""
        system = cls(settings, await build_model(server, settings.system), follower, sender)
        await system._values.add()
        await add_coil_data_method(system._model, system._commands)
        server.iserver.begin_views()
        for part in (system._machine, system._results, system._configuration):
            await part.link()
        server.iserver.condition_methods = system._conditions.methods(system._commands)
        return system

    async def keep_shown(self, news: NewsQueue, woken: asyncio.Event) -> None:
        """Follow the service until cancelled: news and defects at once and in order, values every `SHOW_EVERY_S`."""
        dropped = 0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SHOW_EVERY_S):
                    await woken.wait()
            woken.clear()
            for one in news.take():
                await self._take(one)
            if news.dropped != dropped:
                log.warning("opcua_events_dropped", events=news.dropped - dropped)
                dropped = news.dropped
            await self._show()
            await asyncio.sleep(GATHER_S)

    def remember(self, loop: asyncio.AbstractEventLoop, stop: Event) -> None:
        """Take the results of earlier coils from the journal. Runs in a thread of its own."""
        with suppress(WireError, RuntimeError):  # RuntimeError: the loop has ended
            for message in past_coils(self._settings.service, stop, self._set_journal):
                asyncio.run_coroutine_threadsafe(self._take_coil(message, tell=False), loop).result()

    def _set_journal(self, journal: str | None) -> None:
        self._journal = journal

    async def _show(self) -> None:
        shown, state = self._follower.newest, self._follower.state
        if shown.status is not None:
            self._journal = shown.status.journal_id
        await self._machine.show(state, shown.coil.state)
        await self._configuration.show(shown.recipe, shown.config)
        await self._values.show(shown, state)

    async def _take(self, one: CoilMessage | AlarmMessage | AlarmsNow) -> None:
        match one:
            case CoilMessage():
                await self._take_coil(one, tell=True)
            case AlarmMessage():
                await self._conditions.take(one)
            case AlarmsNow():
                await self._conditions.replace(one.alarms)

    async def _take_coil(self, message: CoilMessage, tell: bool) -> None:
        status = self._follower.newest.status
        journal = status.journal_id if status else self._journal
        id_, key = result_id(message, journal), (message.epoch, message.sequence)
        started = message.state is CoilState.STARTED
        if key > self._newest:  # those of the journal may come after newer ones
            self._newest = key
            under_way = started and not message.between_coils
            self._coil, self._job = (message.coil, id_) if under_way else ("", "")
        if started:
            self._began = {id_: when(message)}
            if tell and not message.between_coils:
                await self._machine.tell_job_started(id_, message.coil)
        elif not message.between_coils:
            simulated = self._settings.simulated or (status is not None and status.journal is None)
            aborted = tell and message.coil == self._machine.aborted_coil
            result = coil_result(message, journal, simulated, aborted, self._began.get(id_))
            await self._results.add(result, tell)
