"""Binding the service's sockets: which endpoints are allowed, and errors that say what is wrong with one."""

import errno
import ipaddress
import socket as sockets

import zmq

from linewatch.config.wire import WireSettings
from linewatch.contracts.errors import WireError
from linewatch.wire.access.server_keys import ServerKeys


def load_keys(settings: WireSettings) -> ServerKeys | None:
    """Load the configured keys. Raises WireError when they cannot be used or an endpoint lacks them."""
    for name in ("publish", "serve", "commands"):
        if (endpoint := getattr(settings, name)) is not None:
            check(endpoint, settings.keys is not None, name)
    return ServerKeys.load(settings.keys) if settings.keys else None


def check(endpoint: str, has_keys: bool, name: str) -> None:
    """Raise WireError for an endpoint that other hosts could reach while no keys are configured."""
    if not has_keys and not is_local(endpoint):
        raise WireError(
            f"[wire] {name} = {endpoint!r} can be reached from other hosts; without keys only loopback "
            "(tcp://127.0.0.1:...) and ipc:// are allowed: configure [wire.keys], or bind to loopback"
        )


def is_local(endpoint: str) -> bool:
    """Return whether only processes on this host can connect. Host names other than localhost count as reachable."""
    scheme, _, address = endpoint.partition("://")
    if scheme != "tcp":
        return scheme in ("ipc", "inproc")
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind(socket: zmq.Socket[bytes], endpoint: str, name: str) -> str:
    """Bind, and return the bound endpoint with the port that was chosen for `*`.

    Raises WireError when the endpoint is in use or there is no such address.
    """
    port = endpoint.rpartition(":")[2]
    try:
        if endpoint.startswith("tcp://") and port.isdigit() and int(port) > 65535:
            raise zmq.ZMQError(errno.EINVAL)  # libzmq would bind to the port modulo 65536
        if endpoint.startswith("ipc://") and _answers(endpoint.removeprefix("ipc://")):
            raise zmq.ZMQError(errno.EADDRINUSE)  # libzmq would take the path from the process that owns it
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
    """Detect peers whose host is gone, by TCP: ZMQ_HEARTBEAT makes slow subscribers abort (libzmq issue 4767)."""
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
