"""`linewatch bridge modbus`: a thread follows the service, one carries PLCs' commands to it, the event loop answers
PLCs; none waits for another.
"""

import asyncio
import signal
import time
from collections.abc import Callable
from threading import Event, Thread

import structlog

from linewatch.client import ClientKeys, Subscriber
from linewatch.config.modbus import ModbusSettings
from linewatch.contracts.errors import WireError
from linewatch.plant.modbus.acknowledge import Acknowledger
from linewatch.plant.modbus.picture import Picture, StandingAlarm
from linewatch.plant.modbus.registers import BridgeState, Image
from linewatch.plant.modbus.server import ModbusServer
from linewatch.systemd import Notifier
from linewatch.wire.schema import StatusMessage

ANSWER_TIMEOUT_S = 0.5  # of the service; while it is waited for, nothing is followed
ASK_AGAIN_S = 1.0
POLL_S = 0.1
WATCH_S = 0.25
HUNG_S = 5.0

log = structlog.get_logger()


class Follower:
    """A thread that keeps an image of the service. `image` may be called from another one at any time."""

    def __init__(self, settings: ModbusSettings, keys: ClientKeys | None, ended: Callable[[], object]) -> None:
        """`ended` is called from the thread when it fails; `failure` then says why."""
        self._settings = settings
        self._keys = keys
        self._ended = ended
        self._stop = Event()
        self._thread = Thread(target=self._run, name="follower")
        self._picture = Picture(settings)
        self._shown = self._picture.image(), self._picture.state, self._picture.alarms
        self._heard_s = float("-inf")
        self.ticked_s = time.monotonic()
        self.failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the thread has ended; raises what it failed with."""
        self._stop.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def image(self) -> Image:
        """The registers now: what was last known, and whether the service is still heard."""
        image = self._shown[0]
        return image.silenced() if self._is_silent() else image

    @property
    def state(self) -> BridgeState:
        return BridgeState.SILENT if self._is_silent() else self._shown[1]

    @property
    def alarms(self) -> tuple[StandingAlarm, ...]:
        """Those in the registers."""
        return self._shown[2]

    def _is_silent(self) -> bool:
        return time.monotonic() - self._heard_s > self._settings.service.silence_s

    def _run(self) -> None:
        try:
            self._follow()
        except BaseException as failure:
            self.failure = failure
            self._ended()

    def _follow(self) -> None:
        service, ask_s = self._settings.service, 0.0
        with Subscriber(
            service.publish, service.serve, keys=self._keys, answer_timeout_s=ANSWER_TIMEOUT_S
        ) as subscriber:
            while not self._stop.is_set():
                message = subscriber.poll(POLL_S)
                self.ticked_s = time.monotonic()
                if message is None:
                    continue
                self._picture.take(message)
                if isinstance(message, StatusMessage):
                    self._heard_s = self.ticked_s
                    if self._picture.wants_snapshot and self.ticked_s >= ask_s:
                        ask_s = self.ticked_s + ASK_AGAIN_S
                        self._sync(subscriber)
                self._shown = self._picture.image(), self._picture.state, self._picture.alarms

    def _sync(self, subscriber: Subscriber) -> None:
        try:
            self._picture.sync(subscriber.snapshot())
        except WireError as error:
            log.warning("no_snapshot", why=str(error))
        else:
            log.info("in_step_with_the_service")


def run_bridge(settings: ModbusSettings) -> None:
    """Serve PLCs until SIGTERM or SIGINT. Raises WireError when a socket cannot be used or the service speaks another
    schema version.
    """
    asyncio.run(_serve(settings))


async def _serve(settings: ModbusSettings) -> None:
    loop, stop, notifier = asyncio.get_running_loop(), asyncio.Event(), Notifier()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def ended() -> None:
        loop.call_soon_threadsafe(stop.set)

    files = settings.service.keys
    keys = ClientKeys(files.secret_file, files.server_public_file) if files else None
    follower = Follower(settings, keys, ended)
    acknowledger = None if settings.acknowledge is None else Acknowledger(settings, keys, follower, ended)
    image = follower.image if acknowledger is None else acknowledger.image
    write = None if acknowledger is None else acknowledger.write
    async with ModbusServer(settings.listen, image, write) as server:
        follower.start()
        try:
            log.info("listening", address=settings.listen.address, port=server.port)
            notifier.ready()
            await _watch(follower, server, stop, notifier)
        finally:
            notifier.stopping()
            try:
                follower.stop()
            finally:
                if acknowledger is not None:
                    acknowledger.stop()
    log.info("stopped")


async def _watch(follower: Follower, server: ModbusServer, stop: asyncio.Event, notifier: Notifier) -> None:
    """Log what changes, and feed the service manager's watchdog while the follower is alive."""
    before: BridgeState | None = None
    while not stop.is_set():
        state = follower.state
        if state is not before:
            expected = state in (BridgeState.RUNNING, BridgeState.DRAINING)
            (log.info if expected else log.warning)("service_state", state=state.name.lower())
            before = state
        if time.monotonic() - follower.ticked_s < HUNG_S:
            notifier.alive(f"service {state.name.lower()}, {server.connections} PLCs connected")
        try:
            async with asyncio.timeout(WATCH_S):
                await stop.wait()
        except TimeoutError:
            pass
