"""The connection to the PLC, in a thread of its own: it is made again for ever, and a slow PLC holds up nobody."""

import logging
import struct
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Final

import structlog
from snap7.client import Client
from snap7.error import S7Error

from linewatch.plant.health import LinkHealth
from linewatch.plant.plc.values import Value
from linewatch.plant.s7.commands import PlcCommands
from linewatch.plant.s7.layout import COMMANDS, MAX_DINT, STATUS, DataBlock
from linewatch.plant.s7.settings import S7Settings

RETRY_S: Final = (0.5, 1.0, 2.0, 5.0)
"""Pauses before the next attempt to connect; the last one holds from then on."""

log = structlog.get_logger()
logging.getLogger("snap7").setLevel(logging.CRITICAL + 1)  # what goes wrong is told once, in the bridge's own log


class _PlcError(Exception):
    """The PLC cannot be served; says why."""


_FAULTS = (S7Error, OSError, _PlcError, ValueError, IndexError, struct.error)  # the last three: an answer that is none


class PlcLink:
    """Writes what the service tells into the status block, and takes the PLC's commands. `health` waits for nothing."""

    def __init__(
        self,
        settings: S7Settings,
        shown: Callable[[], dict[str, Value]],
        commands: PlcCommands | None,
        ended: Callable[[], object],
    ) -> None:
        """`shown` makes the status block's values without the commands' answers. `ended`: when the thread fails."""
        self._settings, self._shown, self._commands, self._ended = settings, shown, commands, ended
        self._stop = Event()
        self._thread = Thread(target=self._run, name="plc")
        self._failure: BaseException | None = None
        self._trouble = "not connected yet"
        self._connected = False
        self.turned_s = time.monotonic()
        """When the thread last made a turn."""
        self._writes = 0
        self._written: dict[str, Value] = {}
        self._counted: Value = 0
        self._counted_s = 0.0  # when plc_heartbeat changed last

    def start(self) -> None:
        """Connect, and serve the PLC until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Tell the PLC that nobody inspects any more, and end; raise what the thread failed with.

        Takes a few seconds at most where the PLC does not answer.
        """
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    @property
    def health(self) -> LinkHealth:
        """Whether the PLC is served now."""
        return LinkHealth(self._trouble, peers=int(self._connected))

    def _run(self) -> None:
        try:
            self._serve_for_ever()
        except BaseException as failure:
            self._failure = failure
            self._ended()

    def _serve_for_ever(self) -> None:
        failures = 0
        while not self._stop.is_set():
            self.turned_s = time.monotonic()
            try:
                self._serve()
            except _FAULTS as error:
                failures = 0 if self._connected else failures
                self._tell(f"{self._address}: {error}")
            finally:
                self._connected = False
            self._stop.wait(RETRY_S[min(failures, len(RETRY_S) - 1)])
            failures += 1

    @property
    def _address(self) -> str:
        plc = self._settings.plc
        return f"PLC {plc.address}:{plc.port}"

    def _tell(self, trouble: str) -> None:
        """Take note of a trouble, "" of none, and log a change."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble:
            log.warning("plc_not_served", why=trouble)
        else:
            log.info("plc_served", address=self._address)

    def _serve(self) -> None:
        plc, client = self._settings.plc, Client()
        try:
            client.connect(plc.address, plc.rack, plc.slot, plc.port)
            status = STATUS.decode(self._read(client, STATUS, plc.status_block))
            if self._commands is not None:
                self._commands.resume(status)
            self._written = {}
            self._connected = True
            next_s = time.monotonic()
            while not self._stop.is_set():
                self._cycle(client)
                self.turned_s = time.monotonic()
                next_s = max(next_s + plc.cycle_ms / 1000, time.monotonic())
                self._stop.wait(next_s - time.monotonic())
            self._write(client, self._shown() | {"state": 0, "quality": 0})
        finally:
            client.disconnect()

    def _cycle(self, client: Client) -> None:
        values, stopped = self._shown(), ""
        if self._commands is not None:
            block = COMMANDS.decode(self._read(client, COMMANDS, self._settings.commands.block))  # type: ignore[union-attr]
            stopped = self._stopped(block["plc_heartbeat"])
            self._commands.take(block)
            values |= self._commands.answers
        if values != self._written:
            self._write(client, values)
            self._written = values
        self._tell(stopped)

    def _stopped(self, counted: Value) -> str:
        """Return that the PLC's program does not run; "": it does, or does not count.

        The state of the CPU could be asked for as well, but not every S7 tells it, and python-snap7 3.3.0 always
        answers that it runs.
        """
        now_s, commands = time.monotonic(), self._settings.commands
        if counted != self._counted or not counted:
            self._counted, self._counted_s = counted, now_s
        if commands is None or now_s - self._counted_s < commands.stopped_s:
            return ""
        return f"{self._address}: its program does not run: plc_heartbeat stands at {counted}; is it in STOP?"

    def _read(self, client: Client, block: DataBlock, number: int) -> bytes:
        try:
            return bytes(client.db_read(number, 0, block.size))
        except S7Error as error:
            if not client.get_connected():
                raise
            raise _PlcError(_block_fault(block, number, error)) from error

    def _write(self, client: Client, values: dict[str, Value]) -> None:
        number = self._settings.plc.status_block
        self._writes = self._writes % MAX_DINT + 1
        data = STATUS.encode(values | {"write_begin": self._writes, "write_end": self._writes})
        try:
            client.db_write(number, 0, data)  # in pieces of a PDU, the first bytes first
        except S7Error as error:
            if not client.get_connected():
                raise
            raise _PlcError(_block_fault(STATUS, number, error)) from error


def _block_fault(block: DataBlock, number: int, error: S7Error) -> str:
    return (
        f"DB {number} ({block.name}) cannot be used: {error}; expected {block.size} bytes with standard access (not "
        "optimized) and PUT/GET permitted: import the source that `linewatch bridge s7 CONFIG --map FILE` writes"
    )
