"""Where sockets may be bound, and the keys that anything but this host needs."""

import errno
import ipaddress
import socket as sockets
import stat
from dataclasses import dataclass
from typing import Self

import zmq

from linewatch.config.wire import KeySettings, WireSettings
from linewatch.contracts.errors import WireError
from linewatch.wire.access.allow_list import AllowList, read_allow_list
from linewatch.wire.access.certificates import read_secret

ZAP_DOMAIN = b"linewatch"


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """The service's CURVE key pair, and whose keys may connect."""

    public: bytes
    secret: bytes
    allowed: AllowList

    @classmethod
    def load(cls, settings: KeySettings) -> Self:
        """Raises WireError when a certificate is missing, is none or could be anybody's."""
        folder = settings.clients_dir
        try:
            own = read_secret(settings.server_secret_file)
            keys = read_allow_list(folder)
        except WireError as error:
            raise WireError(f"[wire.keys]: {error}") from error
        if folder.stat().st_mode & stat.S_IWOTH:
            raise WireError(f"anybody on this host may add keys to [wire.keys] clients_dir = {folder}; chmod o-w it")
        if not keys:
            raise WireError(
                f"no client certificate (*.key) in [wire.keys] clients_dir = {folder}; nobody could connect: "
                "`linewatch keys new NAME --role ROLE` makes one, `linewatch keys allow FILE --role ROLE` takes one in"
            )
        for key in keys:
            if key.fault:
                raise WireError(f"[wire.keys] clients_dir: {key.fault}")
        assert own.secret is not None
        return cls(own.public, own.secret, AllowList(folder))

    def arm(self, socket: zmq.Socket[bytes]) -> None:
        """Let only known keys in, and nobody while there is no authenticator to ask."""
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = self.public, self.secret
        socket.zap_domain = ZAP_DOMAIN
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def load_keys(settings: WireSettings) -> ServerKeys | None:
    """The keys that are configured. Raises WireError when they cannot be used, or an endpoint needs them."""
    for name in ("publish", "serve", "commands"):
        if (endpoint := getattr(settings, name)) is not None:
            check(endpoint, settings.keys is not None, name)
    return ServerKeys.load(settings.keys) if settings.keys else None


def check(endpoint: str, has_keys: bool, name: str) -> None:
    """Raises WireError for an endpoint that others could reach while no keys are configured."""
    if not has_keys and not is_local(endpoint):
        raise WireError(
            f"[wire] {name} = {endpoint!r} can be reached from other hosts; without keys only loopback "
            "(tcp://127.0.0.1:...) and ipc:// are allowed: configure [wire.keys], or bind to loopback"
        )


def is_local(endpoint: str) -> bool:
    """Whether only processes on this host can connect. A name other than localhost counts as reachable."""
    scheme, _, address = endpoint.partition("://")
    if scheme != "tcp":
        return scheme in ("ipc", "inproc")
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind(socket: zmq.Socket[bytes], endpoint: str, name: str) -> str:
    """Bind and return the endpoint as it is, with the port that was chosen for `*`.

    Raises WireError when it is in use or there is no such address.
    """
    port = endpoint.rpartition(":")[2]
    try:
        if endpoint.startswith("tcp://") and port.isdigit() and int(port) > 65535:
            raise zmq.ZMQError(errno.EINVAL)  # libzmq would bind to the remainder
        if endpoint.startswith("ipc://") and _answers(endpoint.removeprefix("ipc://")):
            raise zmq.ZMQError(errno.EADDRINUSE)  # libzmq would take the path away from its owner
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        if error.errno == errno.EADDRINUSE:
            what = f"port {port}" if endpoint.startswith("tcp") else endpoint
            raise WireError(
                f"{what} of [wire] {name} = {endpoint!r} is in use by another process; expected a free one: "
                f"stop that process{f' (ss -ltnp sport = :{port} names it)' if port.isdigit() else ''}, "
                f"or set another [wire] {name}"
            ) from error
        raise WireError(
            f"cannot bind [wire] {name} = {endpoint!r}: {error.strerror}; expected an address of this host that the "
            "service may bind, or an ipc:// path in a folder that it may write"
        ) from error
    return socket.get_string(zmq.LAST_ENDPOINT)


def keep_alive(socket: zmq.Socket[bytes]) -> None:
    """Notice peers whose host went away. Not by ZMQ_HEARTBEAT: it makes slow subscribers abort (libzmq #4767)."""
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 10)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 5)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)


def _answers(path: str) -> bool:
    with sockets.socket(sockets.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True
