"""The Modbus TCP server (Modbus Messaging on TCP/IP 1.0b): each PLC's connection is a task of one event loop.

pymodbus decodes and encodes; the connections are our own, so that a PLC that hangs or floods does not hold up others:
requests that arrive together are all answered, one at a time and in turn with the other connections, and nothing more
is read from a PLC that does not take its answers (docs/decisions/0022-our-own-modbus-connections.md).
"""

import asyncio
import logging
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Sequence
from enum import IntEnum
from types import TracebackType
from typing import Self

import structlog
from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU

from linewatch.contracts.errors import WireError
from linewatch.plant.modbus.registers import COILS, ProcessImage
from linewatch.plant.modbus.settings import ListenSettings

MODBUS_PROTOCOL = 0
_HEADER = struct.Struct(">HHHB")  # transaction, protocol, bytes that follow, unit
_MAX_PDU_BYTES = 253
_READ_AHEAD_BYTES = 4096
_UNREAD_ANSWERS_BYTES = 4096

log = structlog.get_logger()
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # it logs a line for every malformed request


class Function(IntEnum):
    """The Modbus functions that are served; any other is answered by exception 1."""

    READ_COILS = 1
    READ_DISCRETE_INPUTS = 2
    READ_HOLDING_REGISTERS = 3
    READ_INPUT_REGISTERS = 4
    WRITE_COIL = 5
    WRITE_COILS = 15


_FUNCTIONS = frozenset(Function)
_COIL_VALUES = (b"\xff\x00", b"\x00\x00")  # to pymodbus, everything that is not 0 is 1


class _NotModbusError(Exception):
    """The bytes are not Modbus TCP: the start of the next request is unknown."""


Write = Callable[[int, Sequence[bool], str], None]
"""Takes (first coil, values from it on, address of the PLC that wrote them)."""


class _Tables:
    """The tables that a PLC's requests read and write, as pymodbus asks for them. Every unit id is answered."""

    def __init__(self, image: Callable[[], ProcessImage], write: Write | None, peer: str) -> None:
        self._image = image
        self._write = write
        self._peer = peer
        self._written: list[bool] = []

    async def async_getValues(
        self, _unit: int, function: int, address: int, count: int = 1
    ) -> list[int] | list[bool] | ExcCodes:
        image = self._image()
        match function:
            case Function.READ_HOLDING_REGISTERS | Function.READ_INPUT_REGISTERS:
                table: tuple[int, ...] | tuple[bool, ...] = image.registers
            case Function.READ_DISCRETE_INPUTS:
                table = image.alarm_bits
            case Function.WRITE_COIL:
                return self._written  # the answer echoes what was written, whatever becomes of it
            case _:
                table = image.coils
        return list(table[address : address + count]) if address + count <= len(table) else ExcCodes.ILLEGAL_ADDRESS

    async def async_setValues(self, _unit: int, _function: int, address: int, values: list[bool]) -> ExcCodes | None:
        if self._write is None or address + len(values) > COILS:
            return ExcCodes.ILLEGAL_ADDRESS
        self._write(address, values, self._peer)
        self._written = values
        return None


class ModbusServer:
    """Opened in a running event loop, and answers from then on, each request from one process image."""

    def __init__(self, settings: ListenSettings, image: Callable[[], ProcessImage], write: Write | None) -> None:
        """`image` makes the newest process image. `write` must not wait; None: coils cannot be written."""
        self._settings = settings
        self._image = image
        self._write = write
        self._codec = FramerSocket(DecodePDU(True))
        self._connections: dict[StreamWriter, asyncio.Task[None]] = {}  # in the order of their last requests

    async def __aenter__(self) -> Self:
        """Raises WireError when the address cannot be bound."""
        address, port = self._settings.address, self._settings.port
        try:
            self._server = await asyncio.start_server(self._accept, address, port, limit=_READ_AHEAD_BYTES)
        except OSError as error:
            raise WireError(
                f"cannot bind [listen] address = {address!r}, port = {port}: {error.strerror}; expected an address of "
                "this host and a free port, above 1023 unless the process has CAP_NET_BIND_SERVICE (the shipped "
                "systemd unit gives it)"
            ) from error
        log.info("listening", address=address, port=self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._connections.values()):
            task.cancel()
        await asyncio.gather(*self._connections.values(), return_exceptions=True)

    @property
    def port(self) -> int:
        """The bound port."""
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """The number of connected PLCs."""
        return len(self._connections)

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        task = asyncio.current_task()
        assert task is not None
        if peer is None or (self._settings.clients and peer[0] not in self._settings.clients):
            log.warning("plc_refused", peer=peer and peer[0])
            writer.transport.abort()
            return
        if len(self._connections) >= self._settings.connections:
            oldest = next(iter(self._connections))
            self._connections.pop(oldest).cancel()
            log.warning("plc_connections_full", closed=oldest.get_extra_info("peername")[0])
        self._connections[writer] = task
        log.info("plc_connected", peer=peer[0], connections=len(self._connections))
        why, found = "closed", None
        try:
            await self._serve(reader, writer, _Tables(self._image, self._write, peer[0]))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except TimeoutError:
            why = "idle"
        except _NotModbusError as error:
            why, found = "not Modbus TCP", str(error)
        except asyncio.CancelledError:
            why = "closed by the bridge"  # to make room for another PLC, or because the bridge ends
        finally:
            self._connections.pop(writer, None)
            writer.transport.abort()  # a close would wait for a PLC that does not read
            log.info("plc_disconnected", peer=peer[0], why=why, found=found, connections=len(self._connections))

    async def _serve(self, reader: StreamReader, writer: StreamWriter, tables: _Tables) -> None:
        writer.transport.set_write_buffer_limits(_UNREAD_ANSWERS_BYTES)
        while True:
            async with asyncio.timeout(self._settings.idle_s):
                request = await _read_request(reader)
                self._connections[writer] = self._connections.pop(writer)
                writer.write(await self._answer(tables, *request))
                await writer.drain()
            await asyncio.sleep(0)  # give other connections their turn, however many requests wait in this one

    async def _answer(self, tables: _Tables, transaction: int, unit: int, pdu: bytes) -> bytes:
        function = pdu[0]
        good = function in _FUNCTIONS and (function != Function.WRITE_COIL or pdu[3:5] in _COIL_VALUES)
        request = self._codec.decoder.decode(pdu) if good else None
        if request is None:
            code = ExcCodes.ILLEGAL_VALUE if function in _FUNCTIONS else ExcCodes.ILLEGAL_FUNCTION
            response: ModbusPDU = ExceptionResponse(function, code)
        else:
            response = await request.datastore_update(tables, unit)  # type: ignore[arg-type]  # uses these two methods only
        response.transaction_id, response.dev_id = transaction, unit
        return self._codec.buildFrame(response)


async def _read_request(reader: StreamReader) -> tuple[int, int, bytes]:
    """Return (transaction, unit, PDU) of the next request."""
    transaction, protocol, size, unit = _HEADER.unpack(await reader.readexactly(_HEADER.size))
    if protocol != MODBUS_PROTOCOL or not 2 <= size <= _MAX_PDU_BYTES + 1:
        raise _NotModbusError(f"protocol {protocol}, length {size}")
    return transaction, unit, await reader.readexactly(size - 1)
