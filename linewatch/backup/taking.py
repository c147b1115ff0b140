"""Takes a backup of folders of state while services write to them."""

import grp
import hashlib
import io
import os
import platform
import pwd
import shutil
import sqlite3
import stat
import tarfile
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from linewatch import __version__
from linewatch.backup.manifest import (
    FORMAT,
    MANIFEST_NAME,
    BackupManifest,
    KeptEntry,
    KeptFile,
    KeptFolder,
    member_name,
)
from linewatch.contracts.errors import ConfigError, SourceError

_SQLITE_HEADER: Final = b"SQLite format 3\0"
_BESIDE_SQLITE: Final = ("-wal", "-shm", "-journal")
_SQLITE_WAIT_S: Final = 30.0
_CHUNK: Final = 1 << 20


@dataclass(slots=True)
class _Found:
    """What lies in one folder, before it is copied."""

    root: Path
    folders: list[KeptEntry] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    databases: list[Path] = field(default_factory=list)


def take_backup(folders: Sequence[Path], out: Path, told: Callable[[int, str], None]) -> BackupManifest:
    """Write all that lies in folders to one archive of mode 0600; returns its manifest.

    Databases come first and the rest later, so that a journal is never older than the history that was fetched from it.
    A file that is written to is taken as far as it reaches when its turn comes. told: called with the number of
    files done and the name of the next. The archive appears under its name when it is complete. Raises ConfigError,
    SourceError.
    """
    left_out: list[str] = []
    found = [_walk(folder, out, left_out) for folder in folders]
    turns = [(number, path, True) for number, one in enumerate(found) for path in one.databases]
    turns += [(number, path, False) for number, one in enumerate(found) for path in one.files]
    kept: list[list[KeptFile]] = [[] for _ in found]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}.", suffix=".part", delete=False) as part:
            try:
                with tarfile.open(fileobj=part, mode="w:gz", compresslevel=1) as tar:
                    for done, (number, path, is_database) in enumerate(turns):
                        told(done, path.name)
                        file = _add(tar, number, found[number].root, path, is_database, out.parent)
                        if file is None:
                            left_out.append(f"{path}: went away meanwhile")
                        else:
                            kept[number].append(file)
                    manifest = BackupManifest(
                        format=FORMAT,
                        linewatch=__version__,
                        host=platform.node(),
                        made=datetime.now(UTC).isoformat(timespec="seconds"),
                        folders=tuple(
                            KeptFolder(path=str(folder), folders=tuple(one.folders), files=tuple(files))
                            for folder, one, files in zip(folders, found, kept, strict=True)
                        ),
                        left_out=tuple(left_out),
                    )
                    data = manifest.model_dump_json(indent=1).encode()
                    _add_member(tar, MANIFEST_NAME, io.BytesIO(data), len(data))
                part.flush()
                os.fsync(part.fileno())
                os.replace(part.name, out)
            except BaseException:
                with suppress(OSError):
                    os.unlink(part.name)
                raise
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror}; name a file on a disk with room") from error
    told(len(turns), "")
    return manifest


def _walk(folder: Path, out: Path, left_out: list[str]) -> _Found:
    """Return what lies in a folder. Raises SourceError."""
    root = Path(os.path.realpath(folder))
    found = _Found(root)

    def refuse(error: OSError) -> None:
        raise SourceError(f"cannot read {error.filename}: {error.strerror}; run it as root or as the service's user")

    for at, names, files in os.walk(root, onerror=refuse):
        here = Path(at)
        found.folders.append(_entry(root, here, here.stat()))
        for name in sorted(names):
            if (here / name).is_symlink():
                left_out.append(f"{here / name}: a link")
        names[:] = sorted(name for name in names if not (here / name).is_symlink())
        databases = [name for name in sorted(files) if _is_database(here / name)]
        beside = {name + suffix for name in databases for suffix in _BESIDE_SQLITE}
        for name in sorted(files):
            path = here / name
            if name in beside or path.absolute() == out.absolute():
                continue
            if path.is_symlink() or not path.is_file():
                if os.path.lexists(path):
                    left_out.append(f"{path}: a link, a socket or a pipe")
            elif name in databases:
                found.databases.append(path)
            else:
                found.files.append(path)
                _tell_of_server(path, left_out)
    return found


def _is_database(path: Path) -> bool:
    """Return whether a file is an SQLite database. Raises SourceError for one that this user may not read."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        with path.open("rb") as file:
            return file.read(len(_SQLITE_HEADER)) == _SQLITE_HEADER
    except FileNotFoundError:
        return False
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; run it as root or as the service's user") from error


def _tell_of_server(path: Path, left_out: list[str]) -> None:
    """Say that a PostgreSQL database is not in the archive, where a configuration names one."""
    if path.suffix != ".toml":
        return
    with suppress(OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        if str(tomllib.loads(path.read_text()).get("database", "")).startswith("postgresql"):
            left_out.append(
                f"{path}: its PostgreSQL database; back it up by pg_dump --format=custom, or ask its keeper"
            )


def _add(tar: tarfile.TarFile, number: int, root: Path, path: Path, database: bool, spool: Path) -> KeptFile | None:
    """Add a file as it is now; returns None where it is no longer there. Raises OSError, SourceError."""
    with tempfile.TemporaryFile(dir=spool) as copy:
        try:
            about = _copy_database(path, copy, spool) if database else _copy_file(path, copy)
        except FileNotFoundError:
            return None
        size = copy.tell()
        copy.seek(0)
        digest = hashlib.file_digest(copy, "sha256").hexdigest()
        copy.seek(0)
        entry = _entry(root, path, about)
        _add_member(tar, member_name(number, entry.path), copy, size)
    return KeptFile(**entry.model_dump(), size=size, sha256=digest, sqlite=database)


def _copy_file(path: Path, to: IO[bytes]) -> os.stat_result:
    """Copy as much of a file as it has now. Raises FileNotFoundError, SourceError."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; run it as root or as the service's user") from error
    with file:
        about = os.fstat(file.fileno())
        for data in _chunks(file, about.st_size):
            to.write(data)
    return about


def _chunks(file: IO[bytes], size: int) -> Iterator[bytes]:
    while size > 0 and (data := file.read(min(size, _CHUNK))):
        size -= len(data)
        yield data


def _copy_database(path: Path, to: IO[bytes], spool: Path) -> os.stat_result:
    """Copy an SQLite database in the state of one moment, while others write to it, and check the copy."""
    about = path.stat()
    with tempfile.TemporaryDirectory(dir=spool) as folder:
        copy = Path(folder, "copy")
        try:
            with (
                closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_SQLITE_WAIT_S)) as source,
                closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)
                said = target.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.Error as error:
            raise SourceError(
                f"{path}: cannot be copied ({error}); mend or move the database, then begin anew"
            ) from error
        if said != "ok":
            raise SourceError(f"{path}: is damaged ({' '.join(str(said).split())}); mend or move it, then begin anew")
        with copy.open("rb") as file:
            shutil.copyfileobj(file, to, _CHUNK)
    return about


def _add_member(tar: tarfile.TarFile, name: str, file: IO[bytes], size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    tar.addfile(member, file)


def _entry(root: Path, path: Path, about: os.stat_result) -> KeptEntry:
    return KeptEntry(
        path=str(path.relative_to(root)),
        mode=stat.S_IMODE(about.st_mode) & 0o777,
        owner=_name(lambda: pwd.getpwuid(about.st_uid).pw_name, about.st_uid),
        group=_name(lambda: grp.getgrgid(about.st_gid).gr_name, about.st_gid),
    )


def _name(look_up: Callable[[], str], number: int) -> str:
    try:
        return look_up()
    except KeyError:
        return str(number)
