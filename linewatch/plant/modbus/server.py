"""The PLCs' side: Modbus TCP connections (Modbus Messaging on TCP/IP 1.0b), each served by a task of one event loop.

pymodbus decodes and encodes; connections are ours, so that one PLC that hangs or floods does not hold up the others:
requests that come together are all answered, one at a time and in turn with the other connections, and nothing more is
read from who does not take its answers (docs/decisions: our own Modbus connections).
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

from linewatch.config.modbus import ListenSettings
from linewatch.contracts.errors import WireError
from linewatch.plant.modbus.registers import COILS, Image

MODBUS_PROTOCOL = 0
_HEADER = struct.Struct(">HHHB")  # transaction, protocol, bytes that follow, unit
_MAX_PDU_BYTES = 253
_READ_AHEAD_BYTES = 4096
_UNREAD_ANSWERS_BYTES = 4096

log = structlog.get_logger()
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # it writes a line for every malformed request


class Function(IntEnum):
    """What a PLC may ask for; any other is answered by exception 1."""

    READ_COILS = 1
    READ_DISCRETE_INPUTS = 2
    READ_HOLDING_REGISTERS = 3
    READ_INPUT_REGISTERS = 4
    WRITE_COIL = 5
    WRITE_COILS = 15


_FUNCTIONS = frozenset(Function)
_COIL_VALUES = (b"\xff\x00", b"\x00\x00")  # to pymodbus, everything that is not 0 is 1


class _NotModbusError(Exception):
    """What came is not Modbus TCP; there is no telling where the next request begins."""


Write = Callable[[int, Sequence[bool], str], None]
"""What takes the values that a PLC, named by its address, wrote to coils from the first one on."""


class _Tables:
    """What a PLC's requests read and write, as pymodbus asks for it. Any unit answers."""

    def __init__(self, image: Callable[[], Image], write: Write | None, peer: str) -> None:
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
                return self._written  # its answer is what was written, not what became of it
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
    """Opened in a running event loop; answers from then on, each request out of one image."""

    def __init__(self, settings: ListenSettings, image: Callable[[], Image], write: Write | None) -> None:
        """`write` must not wait; None: coils cannot be written."""
        self._settings = settings
        self._image = image
        self._write = write
        self._codec = FramerSocket(DecodePDU(True))
        self._connections: dict[StreamWriter, asyncio.Task[None]] = {}  # who asked last comes last

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
        """The port that was bound."""
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """PLCs that are connected."""
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
        why = "closed"
        try:
            await self._serve(reader, writer, _Tables(self._image, self._write, peer[0]))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except TimeoutError:
            why = "idle"
        except _NotModbusError as error:
            why = str(error)
        except asyncio.CancelledError:
            why = "closed by the bridge"  # for another PLC, or at its end; nobody waits for this task
        finally:
            self._connections.pop(writer, None)
            writer.transport.abort()  # whoever does not read would hold up a close
            log.info("plc_disconnected", peer=peer[0], why=why, connections=len(self._connections))

    async def _serve(self, reader: StreamReader, writer: StreamWriter, tables: _Tables) -> None:
        writer.transport.set_write_buffer_limits(_UNREAD_ANSWERS_BYTES)
        while True:
            async with asyncio.timeout(self._settings.idle_s):
                request = await _read_request(reader)
                self._connections[writer] = self._connections.pop(writer)
                writer.write(await self._answer(tables, *request))
                await writer.drain()
            await asyncio.sleep(0)  # the other connections' turn, however many requests wait in this one

    async def _answer(self, tables: _Tables, transaction: int, unit: int, pdu: bytes) -> bytes:
        function = pdu[0]
        good = function in _FUNCTIONS and (function != Function.WRITE_COIL or pdu[3:5] in _COIL_VALUES)
        request = self._codec.decoder.decode(pdu) if good else None
        if request is None:
            code = ExcCodes.ILLEGAL_VALUE if function in _FUNCTIONS else ExcCodes.ILLEGAL_FUNCTION
            response: ModbusPDU = ExceptionResponse(function, code)
        else:
            response = await request.datastore_update(tables, unit)  # type: ignore[arg-type] # all it asks for
        response.transaction_id, response.dev_id = transaction, unit
        return self._codec.buildFrame(response)


async def _read_request(reader: StreamReader) -> tuple[int, int, bytes]:
    """Transaction, unit and PDU of the next request."""
    transaction, protocol, size, unit = _HEADER.unpack(await reader.readexactly(_HEADER.size))
    if protocol != MODBUS_PROTOCOL or not 2 <= size <= _MAX_PDU_BYTES + 1:
        raise _NotModbusError(f"not Modbus TCP: protocol {protocol}, length {size}")
    return transaction, unit, await reader.readexactly(size - 1)
