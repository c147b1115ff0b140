"""Which process listens on a TCP port of this host."""

import os
from pathlib import Path


def listens(process: int, port: int) -> bool | None:
    """Return whether a process listens on a TCP port; None: this user may not see its descriptors."""
    return _holds(process, _listening(port))


def is_listened(port: int) -> bool:
    """Return whether any process listens on a TCP port."""
    return bool(_listening(port))


def listener(port: int) -> int | None:
    """Return the process that listens on a TCP port; None: there is none that this user may see."""
    if not (sockets := _listening(port)):
        return None
    processes = (int(place.name) for place in Path("/proc").iterdir() if place.name.isdigit())
    return next((process for process in processes if _holds(process, sockets)), None)


def _holds(process: int, sockets: set[str]) -> bool | None:
    try:
        return any(os.readlink(entry) in sockets for entry in Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return None


def _listening(port: int) -> set[str]:
    """Return the sockets that listen on a port, as descriptors name them."""
    entries = [line.split() for table in ("tcp", "tcp6") for line in _lines(Path("/proc/net") / table)[1:]]
    return {f"socket:[{one[9]}]" for one in entries if one[3] == "0A" and int(one[1].rpartition(":")[2], 16) == port}


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
