"""Verifies an archive, and puts back what is in it: all of it is written and checked before anything is exchanged."""

import grp
import gzip
import hashlib
import json
import os
import pwd
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from pydantic import ValidationError

from linewatch import __version__
from linewatch.backup.manifest import FORMAT, MANIFEST_NAME, BackupManifest, KeptEntry, member_name, version_key
from linewatch.contracts.errors import ConfigError, SourceError

Told = Callable[[int, str], None]
"""Called with the number of files done and the name of the next."""

_CHUNK: Final = 1 << 20
_LARGEST_MANIFEST: Final = 64 << 20


def verify(archive: Path, told: Told) -> BackupManifest:
    """Read a whole archive and check every file in it. Raises SourceError for one that is damaged or newer."""
    return _read(archive, told, None)


def restore(archive: Path, allowed: Sequence[Path], into: Path, told: Told) -> list[tuple[Path, Path | None]]:
    """Put an archive's folders back; returns each with the place to which the former one was moved.

    allowed: folders that the archive may hold. into: the root below which they lie. Everything is first written beside
    its place and checked; then folders are exchanged, and exchanged back if one cannot be. Raises ConfigError,
    SourceError.
    """
    manifest = verify(archive, told)
    places = []
    for folder in manifest.folders:
        if Path(folder.path) not in allowed:
            raise ConfigError(f"{archive}: holds {folder.path}, which nobody asked for; name it behind the archive")
        places.append(_place(into, folder.path))
    for place in places:
        if place.is_mount():
            raise ConfigError(f"{place}: is a mount, which cannot be exchanged; restore with --into, then copy")
        if (user := using_process(place)) is not None:
            raise SourceError(
                f"{place}: process {user} uses it; stop the services first: systemctl stop linewatch.target"
            )
    staged: list[Path] = []
    try:
        try:
            for place in places:
                place.parent.mkdir(parents=True, exist_ok=True)
                staged.append(Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}.restore-")))
        except OSError as error:
            raise ConfigError(f"cannot write beside {place}: {error.strerror}; run it as root") from error
        if _read(archive, told, staged) != manifest:
            raise SourceError(f"{archive}: was changed while it was read; begin anew")
        os.sync()
        return _exchange(places, staged)
    finally:
        for new in staged:
            shutil.rmtree(new, ignore_errors=True)


def using_process(folder: Path) -> int | None:
    """Return a process that works in a folder or has a file of it open; None: there is none that this user may see."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        with suppress(OSError):
            links = [process / "cwd", *(process / "fd").iterdir()]
            for link in links:
                with suppress(OSError):
                    if Path(os.readlink(link)).is_relative_to(folder):
                        return int(process.name)
    return None


def _place(into: Path, path: str) -> Path:
    return Path(os.path.realpath(into / path.lstrip("/")))


def _exchange(places: Sequence[Path], staged: Sequence[Path]) -> list[tuple[Path, Path | None]]:
    """Move each folder aside and the new one to its place; all or none. Raises ConfigError."""
    when = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    done: list[tuple[Path, Path | None]] = []
    place = Path()
    try:
        for place, new in zip(places, staged, strict=True):
            former = place.with_name(f"{place.name}.before-restore-{when}") if place.exists() else None
            if former is not None:
                place.rename(former)
            try:
                new.rename(place)
            except BaseException:
                if former is not None:
                    former.rename(place)
                raise
            done.append((place, former))
    except BaseException as error:
        for one, former in reversed(done):
            shutil.rmtree(one)
            if former is not None:
                former.rename(one)
        if isinstance(error, OSError):
            raise ConfigError(f"cannot exchange {place}: {error.strerror}; nothing was changed") from error
        raise
    return done


def _read(archive: Path, told: Told, staged: Sequence[Path] | None) -> BackupManifest:
    """Read an archive from its first byte to its last, and check it; with `staged`, write its files there."""
    try:
        return _read_open(archive, told, staged)
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise _damaged(archive, str(error) or "it ends too early") from error
    except OSError as error:
        if error.errno is None:  # gzip's
            raise _damaged(archive, str(error)) from error
        where = error.filename or archive
        raise SourceError(f"cannot read or unpack {where}: {error.strerror}; is there room, and may you?") from error


def _read_open(archive: Path, told: Told, staged: Sequence[Path] | None) -> BackupManifest:
    seen: dict[str, tuple[int, str]] = {}
    manifest: BackupManifest | None = None
    with gzip.open(archive) as packed, tarfile.open(fileobj=packed, mode="r:") as tar:
        for member in tar:
            if manifest is not None or not member.isreg() or member.name in seen:
                raise _damaged(archive, f"{member.name!r} does not belong in it")
            file = tar.extractfile(member)
            assert file is not None
            if member.name == MANIFEST_NAME:
                manifest = _manifest(archive, file, member.size)
            else:
                told(len(seen), member.name)
                seen[member.name] = (member.size, _digest(file, _target(archive, member.name, staged)))
        while packed.read(_CHUNK):
            pass  # to the check sum at the end, which tar does not read
    if manifest is None:
        raise _damaged(archive, "it has no manifest; it was cut, or is no backup")
    expected = {
        member_name(number, file.path): (file.size, file.sha256)
        for number, folder in enumerate(manifest.folders)
        for file in folder.files
    }
    if wrong := sorted(name for name in expected.keys() | seen.keys() if expected.get(name) != seen.get(name)):
        raise _damaged(archive, f"{wrong[0]} is not what the manifest says")
    if staged is not None:
        for folder, root in zip(manifest.folders, staged, strict=True):
            for entry in folder.folders:
                (root / entry.path).mkdir(parents=True, exist_ok=True)
            for entry in (*folder.files, *reversed(folder.folders)):
                _own(root / entry.path, entry)
    return manifest


def _manifest(archive: Path, file: IO[bytes], size: int) -> BackupManifest:
    if size > _LARGEST_MANIFEST:
        raise _damaged(archive, "its manifest is too large")
    try:
        tree = json.loads(file.read())
        form, made_by = tree["format"], tree["linewatch"]
        if form > FORMAT or version_key(made_by) > version_key(__version__):
            raise SourceError(
                f"{archive}: was made by linewatch {made_by}, this is {__version__}; "
                "install that version or a newer one"
            )
        return BackupManifest.model_validate(tree)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise _damaged(archive, f"its manifest is not valid: {' '.join(why.split())}") from error


def _target(archive: Path, name: str, staged: Sequence[Path] | None) -> Path | None:
    """Return where a file of the archive is written; None: nowhere."""
    parts = name.split("/")
    if len(parts) < 3 or parts[0] != "state" or not parts[1].isdecimal() or {"", ".", ".."} & set(parts):
        raise _damaged(archive, f"{name!r} does not lie in its folder")
    if staged is None:
        return None
    if int(parts[1]) >= len(staged):
        raise _damaged(archive, f"{name!r} is of no folder")
    return staged[int(parts[1])].joinpath(*parts[2:])


def _digest(file: IO[bytes], target: Path | None) -> str:
    """Return the SHA-256 of a file; writes it to `target`. Raises OSError."""
    digest = hashlib.sha256()
    to = None
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        to = os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb")
    try:
        while data := file.read(_CHUNK):
            digest.update(data)
            if to is not None:
                to.write(data)
    finally:
        if to is not None:
            to.close()
    return digest.hexdigest()


def _own(path: Path, entry: KeptEntry) -> None:
    """Give a restored file its mode, and its owner where this user may. Raises OSError."""
    if os.geteuid() == 0:
        os.chown(path, _number(pwd.getpwnam, entry.owner), _number(grp.getgrnam, entry.group))
    path.chmod(entry.mode)


def _number(look_up: Callable[[str], tuple[object, ...]], name: str) -> int:
    """Return the number of a user or group on this host, else root's; it may differ from the other host's."""
    try:
        return int(str(look_up(name)[2]))
    except KeyError:
        return int(name) if name.isdecimal() else 0


def _damaged(archive: Path, why: str) -> SourceError:
    return SourceError(f"{archive}: is damaged or no backup of linewatch: {why}; take another one")
