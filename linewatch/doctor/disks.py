"""The disks of the folders that linewatch writes: how long a sync takes, room, and what file system they are."""

import math
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from linewatch.check.attempts import existing, size_mb
from linewatch.config.text import why_not
from linewatch.doctor.finding import HostFinding, fault, fine, note, warning
from linewatch.doctor.needs import HostNeeds, NeededFolder
from linewatch.doctor.processor import text

_SYNCS, _LONGEST_S = 100, 1.5
_RECORD = bytes(16 << 10)
_IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs"}
_OVER_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs"}
_FEW_FILES = 1000


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """The disk of a folder. place: the folder, or the one above it in which it would be made.

    sync_ms: 99 of 100 syncs of a record take at most so long; None: not measured. why: why it could not be written or
    read. file_system: "" where it is not known. free_files: None where the file system sets no bound.
    """

    needed: NeededFolder
    place: Path
    free_mb: float = 0.0
    held_mb: float = 0.0
    free_files: int | None = None
    file_system: str = ""
    sync_ms: float | None = None
    why: str = ""


def look_at_disk(needed: NeededFolder) -> DiskFacts:
    """Return the facts of a folder's disk. It is written to for 1.5 s at most, into a file without a name."""
    place = existing(needed.path)
    try:
        about = os.statvfs(place)
        held_mb = size_mb(needed.path) if needed.path.is_dir() and needed.room_mb else 0.0
        sync_ms = measured_sync_ms(place) if needed.synced else None
    except OSError as error:
        return DiskFacts(needed, place, file_system=_file_system(place), why=why_not(place, error))
    files = about.f_favail if about.f_files else None
    free_mb = about.f_bavail * about.f_frsize / 1e6
    return DiskFacts(needed, place, free_mb, held_mb, files, _file_system(place), sync_ms)


def measured_sync_ms(folder: Path) -> float:
    """Return how long 99 of 100 syncs of a record take in a folder, measured as the journal writes. Raises OSError."""
    taken_ms: list[float] = []
    ends_s = time.monotonic() + _LONGEST_S
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        while len(taken_ms) < _SYNCS and (not taken_ms or time.monotonic() < ends_s):
            file.write(_RECORD)
            began_s = time.perf_counter()
            os.fdatasync(file.fileno())
            taken_ms.append((time.perf_counter() - began_s) * 1e3)
    return sorted(taken_ms)[math.ceil(0.99 * len(taken_ms)) - 1]


def judge_disk(facts: DiskFacts, needs: HostNeeds) -> Iterator[HostFinding]:
    """Judge the disk of a folder."""
    needed = facts.needed
    subject = f"disk of {needed.setting}"
    if facts.why:
        yield fault(
            subject,
            f"{facts.place}: cannot be written ({facts.why})",
            "nothing is kept of what is decided, or the process does not start",
            f"sudo chown -R {needs.user or 'linewatch'} {facts.place}, or name another folder",
        )
        return
    kind = f", {facts.file_system}" if facts.file_system else ""
    own = f" and {facts.held_mb:.0f} MB are its own" if facts.held_mb else ""
    found = f"{facts.place}{kind}: {facts.free_mb:.0f} MB free{own}"
    if facts.free_mb + facts.held_mb < needed.room_mb:
        yield fault(
            subject,
            f"{found}, expected {needed.room_mb:.0f} MB",
            "when it is full, what is decided waits in memory, and the oldest is lost",
            f"make room (du -xsh {facts.place}/* shows what is large), or allow it less in the configuration",
        )
    elif facts.file_system in _IN_MEMORY:
        yield warning(
            subject,
            f"{found}, in main memory",
            "all of it is lost when the host loses power or restarts",
            f"name a folder on a disk for {needed.setting}",
        )
    elif facts.free_files is not None and facts.free_files < _FEW_FILES:
        yield warning(
            subject,
            f"{found}, but room for {facts.free_files} more files only",
            "no new segment or picture can be made, although there is room",
            f"remove small files (df -i {facts.place}), or make the file system anew with more inodes",
        )
    else:
        yield fine(subject, found)
    if facts.sync_ms is None:
        return
    told = f"a sync takes up to {facts.sync_ms:.1f} ms (99 of 100)"
    if facts.sync_ms > needs.sync_within_ms:
        yield warning(
            f"sync of {needed.setting}",
            f"{told}, expected {needs.sync_within_ms:.0f} ms at most",
            "an alarm is on disk before it is told: each comes later by as much, and records queue in memory",
            "a disk of its own for it, an SSD with power-loss protection; iostat -x 1 (package sysstat) shows who "
            "writes there now",
        )
    elif facts.file_system in _OVER_NETWORK:
        yield note(
            f"sync of {needed.setting}",
            f"{told}, over the network ({facts.file_system})",
            "while the file server is away nothing is on disk; a SQLite history may be damaged by it",
            f"name a folder on a disk of this host for {needed.setting}",
        )
    else:
        yield fine(f"sync of {needed.setting}", told)


def _file_system(place: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Return the type of the file system in which a folder lies."""
    found, longest = "", -1
    for line in text(mounts).splitlines():
        _, point, kind, *_ = line.split(" ")
        mount = Path(point.encode().decode("unicode_escape"))
        if place.resolve().is_relative_to(mount) and len(mount.parts) >= longest:
            found, longest = kind, len(mount.parts)
    return found
