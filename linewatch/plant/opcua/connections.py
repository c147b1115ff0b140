"""The connections of an OPC UA server, bounded: what a client sends, what it leaves unread, and how many there are.

asyncua decodes, encrypts and answers. Here stands what it lacks for a port that strangers can reach:

- nothing larger than a chunk is buffered, and reading stops while requests wait;
- a client that does not take its answers is disconnected;
- no request but discovery is answered outside an encrypted channel to a trusted client;
- each connection has one session, which its own certificate opened.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from asyncua import Server, ua
from asyncua.common.connection import SecureConnection, TransportLimits
from asyncua.common.utils import Buffer, ServiceError
from asyncua.crypto.security_policies import SecurityPolicyNone
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.server.uaprocessor import UaProcessor
from asyncua.ua.ua_binary import header_from_binary, struct_from_binary, uatcp_to_binary

from linewatch.plant.opcua.certificates import application_uri, read_certificate
from linewatch.plant.opcua.sessions import BoundedServer, ClientSession

CHUNK_BYTES = 65_535
REQUEST_BYTES = 1 << 20
UNREAD_ANSWERS_BYTES = 4 << 20
WAITING_REQUESTS = 50
SPARE_CONNECTIONS = 16  # beyond one a session, for clients that only look for the endpoints
ACTIVATE_WITHIN_S = 10.0
_SMALLEST_CHUNK_BYTES = 8_192  # OPC 10000-6, 7.1.2.3
_HEADER_BYTES = 8
_MESSAGES = frozenset({b"HEL", b"OPN", b"MSG", b"CLO"})

_OBJECT_IDS: Any = ua.ObjectIds


def _request(name: str) -> ua.NodeId:
    return ua.NodeId(getattr(_OBJECT_IDS, f"{name}Request_Encoding_DefaultBinary"))


_CREATE_SESSION, _ACTIVATE_SESSION = _request("CreateSession"), _request("ActivateSession")
_DISCOVERY = frozenset(map(_request, ("GetEndpoints", "FindServers", "CloseSecureChannel")))
_SERVICES = frozenset(
    map(
        _request,
        (
            "CloseSession",
            "Read",
            "Write",  # refused node by node
            "Browse",
            "TranslateBrowsePathsToNodeIds",
            "RegisterNodes",
            "UnregisterNodes",
            "Call",
            "CreateSubscription",
            "ModifySubscription",
            "DeleteSubscriptions",
            "TransferSubscriptions",
            "SetPublishingMode",
            "CreateMonitoredItems",
            "ModifyMonitoredItems",
            "DeleteMonitoredItems",
            "SetMonitoringMode",
            "Publish",
            "Republish",
        ),
    )
)

WhyRefused = Callable[[bytes], str | None]
"""Takes a client's certificate (DER); returns why it is refused, None when it is trusted."""

log = structlog.get_logger()


class _ClientRefusedError(Exception):
    """The client's certificate, or what it sends, is refused."""


class _TrustedConnection(SecureConnection):
    """A secure channel that only trusted clients can open; without encryption there is discovery alone."""

    why_refused: WhyRefused

    def select_policy(
        self, uri: str, peer_certificate: bytes | None, mode: ua.MessageSecurityMode | None = None
    ) -> None:
        if uri != SecurityPolicyNone.URI and (why := self.why_refused(peer_certificate or b"")) is not None:
            raise _ClientRefusedError(f"certificate: {why}")
        super().select_policy(uri, peer_certificate, mode)


class _Processor(UaProcessor):
    """Answers the requests of one connection."""

    iserver: BoundedServer
    session: ClientSession | None

    def __init__(
        self, server: BoundedServer, transport: asyncio.Transport, limits: TransportLimits, why_refused: WhyRefused
    ) -> None:
        super().__init__(server, transport, limits)
        self._connection = _TrustedConnection(SecurityPolicyNone(), self._limits)
        self._connection.why_refused = why_refused

    @property
    def peer(self) -> str:
        """The client's address."""
        return str(self.name[0]) if self.name else "unknown"

    def send_response(
        self, requesthandle: Any, seqhdr: Any, response: Any, msgtype: ua.MessageType = ua.MessageType.SecureMessage
    ) -> None:
        super().send_response(requesthandle, seqhdr, response, msgtype)
        if self._transport.get_write_buffer_size() > UNREAD_ANSWERS_BYTES:
            log.warning("opcua_client_disconnected", peer=self.peer, why="it does not take its answers")
            self._transport.abort()

    async def process(self, header: ua.Header, body: Buffer) -> bool:
        """Answer one message; return whether the connection may go on."""
        try:
            if header.MessageType == ua.MessageType.Hello:
                self._check_hello(body)
            elif header.MessageType == ua.MessageType.SecureMessage and not self._connection.is_open():
                raise _ClientRefusedError("a message before a secure channel was opened")
            return bool(await super().process(header, body))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # whatever the bytes are, they end this connection only
            why = str(error) if isinstance(error, _ClientRefusedError) else f"not OPC UA ({type(error).__name__})"
            log.warning("opcua_client_refused", peer=self.peer, why=why)
            fault = ua.ErrorMessage(ua.StatusCode(ua.StatusCodes.BadSecurityChecksFailed), "")
            with suppress(Exception):
                self._transport.write(uatcp_to_binary(ua.MessageType.Error, fault))
            return False

    def _check_hello(self, body: Buffer) -> None:
        hello = struct_from_binary(ua.Hello, body.copy())
        if min(hello.ReceiveBufferSize, hello.SendBufferSize) < _SMALLEST_CHUNK_BYTES:
            raise _ClientRefusedError(f"buffers of less than {_SMALLEST_CHUNK_BYTES} bytes")

    async def _process_message(self, typeid: ua.NodeId, requesthdr: Any, seqhdr: Any, body: Buffer) -> bool:
        policy = self._connection.security_policy
        if typeid not in _DISCOVERY:
            if policy.URI == SecurityPolicyNone.URI:
                raise ServiceError(ua.StatusCodes.BadSecurityPolicyRejected)
            if typeid == _CREATE_SESSION:
                self._check_creation(struct_from_binary(ua.CreateSessionParameters, body.copy()))
            elif typeid == _ACTIVATE_SESSION:
                self._check_activation(requesthdr)
            elif typeid not in _SERVICES:
                raise ServiceError(ua.StatusCodes.BadServiceUnsupported)
            elif self.session is None or requesthdr.AuthenticationToken != self.session.auth_token:
                raise ServiceError(ua.StatusCodes.BadSessionIdInvalid)
        answered = bool(await super()._process_message(typeid, requesthdr, seqhdr, body))
        if typeid == _CREATE_SESSION and self.session is not None:
            self.session.client_certificate, self.session.peer = policy.peer_certificate, self.peer
        return answered

    def _check_creation(self, asked: ua.CreateSessionParameters) -> None:
        if self.session is not None:
            raise ServiceError(ua.StatusCodes.BadTooManySessions)  # one a connection
        channel = self._connection.security_policy.peer_certificate
        if asked.ClientCertificate != channel:
            raise ServiceError(ua.StatusCodes.BadSecurityChecksFailed)
        if asked.ClientDescription.ApplicationUri != application_uri(read_certificate(channel)):
            raise ServiceError(ua.StatusCodes.BadCertificateUriInvalid)

    def _check_activation(self, requesthdr: Any) -> None:
        session = self.session or self.iserver.lookup_external_session(requesthdr.AuthenticationToken)
        if (
            not isinstance(session, ClientSession)
            or requesthdr.AuthenticationToken != session.auth_token
            or session.client_certificate != self._connection.security_policy.peer_certificate
        ):
            raise ServiceError(ua.StatusCodes.BadSessionIdInvalid)


class _Protocol(OPCUAProtocol):
    """One connection."""

    iserver: BoundedServer
    why_refused: WhyRefused
    processor: _Processor | None
    _buffer: bytes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if len(self.clients) >= self.iserver.max_connections:
            self._make_room()
        super().connection_made(transport)
        if self.transport is not None:
            self.processor = _Processor(self.iserver, self.transport, self.limits, self.why_refused)
            self.processor.set_policies(self.policies)

    def _make_room(self) -> None:
        """Close the connection that has been without a session for longest."""
        for client in self.clients:
            session = client.processor.session if client.processor else None
            if (session is None or not session.is_activated()) and client.transport is not None:
                self.clients.remove(client)
                client.transport.abort()
                return

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._take_messages()

    def _take_messages(self) -> None:
        """Queue what is complete; stop reading while the queue is full."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        while len(self._buffer) >= _HEADER_BYTES and not self.messages.full():
            size = int.from_bytes(self._buffer[4:8], "little")
            if self._buffer[:3] not in _MESSAGES or not 12 <= size <= CHUNK_BYTES:
                log.warning("opcua_client_refused", peer=str(self.peer_name[0]), why="not OPC UA (header)")
                transport.abort()
                return
            if len(self._buffer) < size:
                break
            message = Buffer(self._buffer[:size])
            self._buffer = self._buffer[size:]
            self.messages.put_nowait((header_from_binary(message), message))
        if self.messages.full():
            transport.pause_reading()
        else:
            transport.resume_reading()

    async def _process_one_msg(self, header: Any, buf: Buffer) -> bool:
        goes_on = await super()._process_one_msg(header, buf)
        self._take_messages()
        await asyncio.sleep(0)  # give other connections their turn, however many requests wait in this one
        return goes_on


class _Listener(BinaryServer):
    """The listening socket."""

    iserver: BoundedServer
    why_refused: WhyRefused

    def _make_protocol(self) -> _Protocol:
        protocol = _Protocol(self.iserver, self._policies, self.clients, self.closing_tasks, self.limits)
        protocol.why_refused = self.why_refused
        return protocol


class GuardedServer(Server):
    """An asyncua server whose connections are bounded, and open to trusted clients only."""

    iserver: BoundedServer

    def __init__(self, server: BoundedServer, why_refused: WhyRefused) -> None:
        super().__init__(server)
        self._why_refused = why_refused
        self.limits = TransportLimits(CHUNK_BYTES, CHUNK_BYTES, REQUEST_BYTES // CHUNK_BYTES + 1, REQUEST_BYTES)
        server.max_pending_messages_per_connection = WAITING_REQUESTS
        server.max_pending_activation_seconds = ACTIVATE_WITHIN_S
        server.max_connections = server.limits.sessions + SPARE_CONNECTIONS
        self.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return len(self.bserver.clients) if self.bserver else 0

    async def start(self) -> None:
        """Listen. Raises OSError when the address cannot be bound."""
        await self._setup_server_nodes()
        await self.iserver.start()
        address, port = self._get_bind_socket_info()
        self.bserver = _Listener(self.iserver, address or "", port or 0, self.limits)
        self.bserver.why_refused = self._why_refused
        self.bserver.set_policies(self._policies)
        try:
            await self.bserver.start()
        except BaseException:
            await self.iserver.stop()
            raise
