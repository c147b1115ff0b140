"""Notices that the SQLite file of an open database is no longer the one at its path.

SQLite goes on writing into a file that was moved or deleted, and mixes its pages with those of a file that was
overwritten. See "How To Corrupt An SQLite Database File" on sqlite.org.
"""

import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

SETTLED_S: Final = 1.0
"""How long an overwritten file must have been left alone before it is taken over."""


@dataclass(frozen=True, slots=True)
class FileState:
    """The files at a database's path: (device, inode) of the database and of its -wal file, and the former's content
    as (bytes, time of change in ns). None: there is no such file.
    """

    database: tuple[int, int] | None
    wal: tuple[int, int] | None
    content: tuple[int, int] | None

    @classmethod
    def of(cls, path: Path) -> Self:
        found, wal = _stat(path), _stat(wal_path(path))
        return cls(_identity(found), _identity(wal), None if found is None else (found.st_size, found.st_mtime_ns))

    def change_to(self, now: Self) -> str | None:
        """Return what has happened to the files that were opened in this state; None if they are the same."""
        if now.database is None:
            return "was moved or deleted while it was open"
        if now.database != self.database:
            return "was replaced by another file while it was open"
        if now.content != self.content:
            return "was overwritten while it was open"
        if now.wal != self.wal:
            return "lost its -wal file while it was open"
        return None


def wal_path(path: Path) -> Path:
    """Return the path of the file with the newest commits."""
    return path.with_name(f"{path.name}-wal")


def header_of(path: Path) -> tuple[int, ...]:
    """Return a SQLite file's page count, free pages and schema version. Raises OSError, or ValueError for another file.

    See "Database File Format", 1.3. Closing the file gives up every lock that this process has on it: connect anew.
    """
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        raise ValueError(f"{path} is no SQLite file")
    return tuple(int.from_bytes(header[at : at + 4], "big") for at in (28, 36, 40))


def is_settled(path: Path) -> bool:
    """Return whether nobody has written the file for a while."""
    found = _stat(path)
    return found is None or time.time_ns() - found.st_mtime_ns > SETTLED_S * 1e9


def set_apart(path: Path) -> None:
    """Put a copy of an overwritten file in its place: the open database, which is of other content, cannot reach it."""
    part = path.with_name(f"{path.name}.part")
    try:
        shutil.copy2(path, part)
        found = path.stat()
        with suppress(PermissionError):
            os.chown(part, found.st_uid, found.st_gid)
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:  # also of a disk that is gone
        return None


def _identity(found: os.stat_result | None) -> tuple[int, int] | None:
    return None if found is None else (found.st_dev, found.st_ino)
