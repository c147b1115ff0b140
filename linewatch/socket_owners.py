"""Which process of this host has a TCP or UDP socket."""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def listens(process: int, port: int) -> bool | None:
    """Return whether a process listens on a TCP port; None: this user may not see its descriptors."""
    return _holds(process, _listening(port))


def is_listened(port: int) -> bool:
    """Return whether any process listens on a TCP port."""
    return bool(_listening(port))


def listener(port: int) -> int | None:
    """Return the process that listens on a TCP port; None: there is none that this user may see."""
    return _owner(_listening(port))


def udp_process(address: str, port: int) -> int | None:
    """Return the process that has a UDP socket at an IPv4 address; None: there is none that this user may see."""
    places = {struct.unpack("=I", socket.inet_aton(one))[0] for one in (address, "0.0.0.0")}
    found = set()
    for entry in _entries("udp"):
        place, _, number = entry[1].partition(":")
        if int(number, 16) == port and int(place, 16) in places:
            found.add(_descriptor(entry))
    return _owner(found)


def _owner(sockets: set[str]) -> int | None:
    if not sockets:
        return None
    processes = (int(place.name) for place in Path("/proc").iterdir() if place.name.isdigit())
    return next((process for process in processes if _holds(process, sockets)), None)


def _holds(process: int, sockets: set[str]) -> bool | None:
    try:
        descriptors = list(Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return None
    for descriptor in descriptors:
        # One may be closed meanwhile; of this process, the one that has just listed the folder always is.
        with suppress(OSError):
            if os.readlink(descriptor) in sockets:
                return True
    return False


def _listening(port: int) -> set[str]:
    entries = (entry for table in ("tcp", "tcp6") for entry in _entries(table))
    return {_descriptor(one) for one in entries if one[3] == "0A" and int(one[1].rpartition(":")[2], 16) == port}


def _entries(table: str) -> Iterator[list[str]]:
    """Yield the table's entries; none where the kernel does not show it to this process."""
    with suppress(OSError):
        yield from (line.split() for line in Path("/proc/net", table).read_text().splitlines()[1:])


def _descriptor(entry: list[str]) -> str:
    """Return how a descriptor names the socket of an entry."""
    return f"socket:[{entry[9]}]"
