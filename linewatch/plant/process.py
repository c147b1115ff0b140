"""The process of a bridge: it ends on signals, feeds the watchdog, logs the service's state and reports its health."""

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any

import structlog

from linewatch.logs import log_sums
from linewatch.monitoring.endpoint import monitored
from linewatch.plant.figures import LinkFigures
from linewatch.plant.follower import Follower
from linewatch.plant.health import HealthReporter, LinkHealth
from linewatch.plant.settings import BridgeSettings
from linewatch.plant.view import BridgeState
from linewatch.signals import at_terminal, tell_that_a_restart_is_needed
from linewatch.systemd import Notifier

WATCH_S = 0.25
HUNG_S = 5.0
LINK_HUNG_S = 120.0
"""A link's thread that made no turn for so long is hung: it waits up to 30 s, and as long for an answer."""

log = structlog.get_logger()


class BridgeProcess:
    """Made in a running event loop, which it lets run until SIGTERM, SIGINT or a call of `end`."""

    def __init__(self, protocol: str, settings: BridgeSettings) -> None:
        """protocol: its name in `linewatch bridge PROTOCOL`."""
        self._protocol, self._settings = protocol, settings
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._manager = Notifier()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        if not at_terminal():
            self._loop.add_signal_handler(signal.SIGHUP, tell_that_a_restart_is_needed)

    def end(self) -> None:
        """End the process. May be called from any thread."""
        self._loop.call_soon_threadsafe(self._stop.set)

    async def run(
        self,
        follower: Follower[Any],
        connections: Callable[[], str] | None = None,
        health: Callable[[], LinkHealth] = LinkHealth,
        turned_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Follow the service until the process is to end. Call it once the bridge can be connected to.

        connections: one phrase about them for `systemctl status`. health: of the link to the plant, asked from another
        thread; it must not wait. turned_s: when the link's own thread last made a turn, by the monotonic clock. Raises
        what the follower failed with.
        """
        reporter = HealthReporter(self._protocol, self._settings, health)
        with monitored(self._settings.monitoring, LinkFigures(self._protocol, self._settings.name, follower, health)):
            follower.start()
            reporter.start()
            try:
                self._manager.ready()
                await self._watch(follower, connections, turned_s)
            finally:
                self._manager.stopping()
                reporter.stop()
                follower.stop()
        log.info("stopped")

    async def _watch(
        self, follower: Follower[Any], connections: Callable[[], str] | None, turned_s: Callable[[], float]
    ) -> None:
        before: BridgeState | None = None
        while not self._stop.is_set():
            log_sums()
            state = follower.state
            if state is not before:
                expected = state in (BridgeState.RUNNING, BridgeState.DRAINING)
                (log.info if expected else log.warning)("service_state", state=state.name.lower())
                before = state
            now_s = time.monotonic()
            if now_s - follower.ticked_s < HUNG_S and now_s - turned_s() < LINK_HUNG_S:
                about = f", {connections()}" if connections else ""
                self._manager.alive(f"service {state.name.lower()}{about}")
            try:
                async with asyncio.timeout(WATCH_S):
                    await self._stop.wait()
            except TimeoutError:
                pass
