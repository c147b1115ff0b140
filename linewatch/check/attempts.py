"""Try what a configuration names without leaving a trace: folders to write, files to read, addresses to bind."""

import errno
import ipaddress
import os
import shutil
import socket
import tempfile
from contextlib import closing
from pathlib import Path

from linewatch.config.text import why_not
from linewatch.contracts.errors import ConfigError, WireError
from linewatch.socket_owners import listens


def write_into(folder: Path, room_mb: float = 0.0) -> str:
    """Write a nameless file into a folder, or into the nearest one above that exists, where the folder will be made.

    room_mb: how much must fit on the disk, with what the folder holds already. Raises ConfigError.
    """
    place = folder.absolute()
    if place.exists() and not place.is_dir():
        raise ConfigError(f"{place} is a file, expected a folder; name another place, or move the file away")
    place = existing(folder)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"linewatch check")
            file.flush()
        free_mb = shutil.disk_usage(place).free / 1e6
    except OSError as error:
        made = "" if place == folder.absolute() else f", in which {folder.absolute()} would be made"
        raise ConfigError(
            f"{place}{made}: cannot be written ({why_not(place, error)}); let this user own it, or name another folder"
        ) from error
    held_mb = size_mb(folder) if folder.is_dir() and room_mb else 0.0
    if free_mb + held_mb < room_mb:
        raise ConfigError(
            f"{place}: {free_mb:.0f} MB are free and {held_mb:.0f} MB are its own, expected {room_mb:.0f} MB; "
            "make room, or allow less"
        )
    where = str(place) if place == folder.absolute() else f"will be made in {place}"
    return f"{where}; can be written, {free_mb / 1e3:.1f} GB free"


def existing(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that exists, in which it would be made."""
    place = folder.absolute()
    while not place.is_dir():
        place = place.parent
    return place


def read_folder(folder: Path) -> str:
    """List a folder. Raises ConfigError."""
    try:
        return f"{folder.absolute()}; {len(os.listdir(folder))} entries"
    except OSError as error:
        raise ConfigError(
            f"{folder.absolute()}: cannot be read ({why_not(folder, error)}), expected a folder; make it, "
            "or name another"
        ) from error


def read_file(path: Path) -> str:
    """Open a file for reading. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise ConfigError(f"{path.absolute()}: cannot be read ({why_not(path, error)}); name another") from error
    return str(path.absolute())


def bind_endpoint(endpoint: str, owner: int | None) -> str:
    """Bind the address of a ZeroMQ endpoint for a moment. owner: the process that runs this configuration already.

    Raises WireError when another process has it or this host does not.
    """
    scheme, _, address = endpoint.partition("://")
    if scheme == "ipc":
        path = Path(address)
        if path.exists() and _answers(path):
            return _in_use(endpoint, owner)
        return f"{write_into(path.absolute().parent)}"
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if host in (name for _, name in socket.if_nameindex()):  # libzmq takes the name of an interface as well
        host = "*"
    return bind_address("0.0.0.0" if host == "*" else host, 0 if port == "*" else int(port), owner)


def bind_address(host: str, port: int, owner: int | None) -> str:
    """Bind a TCP address for a moment, without listening, so that nobody can connect. Raises WireError."""
    if not 0 <= port <= 65535:
        raise WireError(f"port {port} does not exist, expected 1 to 65535; choose another")
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except socket.gaierror as error:
        raise WireError(f"{host}: {error.strerror}, expected an address of this host; correct it") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _in_use(f"port {port}", owner if owner is None or listens(owner, port) is not False else None)
        if error.errno == errno.EADDRNOTAVAIL:
            raise WireError(f"{host} is no address of this host (`ip address` lists them); correct it") from error
        if error.errno == errno.EACCES:
            raise WireError(
                f"port {port}: this user may not bind a port below 1024; choose a higher one, or give the process "
                "CAP_NET_BIND_SERVICE, as the unit of the Modbus bridge does"
            ) from error
        raise WireError(f"{host}, port {port}: {error.strerror}; correct the address") from error
    return "any free port" if port == 0 else f"is free on {_plain(host)}"


def _plain(host: str) -> str:
    try:
        return "every address of this host" if ipaddress.ip_address(host).is_unspecified else host
    except ValueError:
        return host


def _in_use(what: str, owner: int | None) -> str:
    if owner is not None:
        return f"bound by the running linewatch of this configuration, process {owner}"
    raise WireError(
        f"{what} is in use by another process (`sudo ss -ltnp` names it), expected a free one; stop that process, or "
        "choose another"
    )


def _answers(path: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX)) as probe:
        return probe.connect_ex(str(path)) == 0


def size_mb(folder: Path) -> float:
    """Return what the files in a folder hold, without those in folders below it."""
    size = 0
    for entry in os.scandir(folder):
        if entry.is_file(follow_symlinks=False):
            size += entry.stat(follow_symlinks=False).st_size
    return size / 1e6
