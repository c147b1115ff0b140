"""Writes output files: a regular file is replaced as a whole, anything else is written to as it is.

An output may be a pipe, a device such as `/dev/stdout`, a link, or a file that its owner keeps read-only. None of these
may be replaced by a file of the same name.
"""

import errno
import os
import re
import secrets
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from linewatch.contracts.errors import ConfigError

_NOT_REPLACEABLE: Final = (errno.EACCES, errno.EPERM, errno.EBUSY)  # busy: a file that is a mount of its own
_PART: Final = re.compile(r"\.[0-9a-f]{16}\.part")
_LINKS_AT_MOST: Final = 40  # as in the kernel


def write_file(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Write an output file. Raises OSError.

    A regular file is replaced in one step and keeps its mode, owner and group; a link stays and its target is replaced.
    After an error it has its former content. Where the step is impossible (the folder may not be written, or the owner
    cannot be kept), the file is overwritten in place. A pipe, a device and a descriptor of this process (`/dev/stdout`,
    `/dev/fd/3`) are written to. A file that may not be written is refused, although its folder allows replacing it.

    sync: return when the data are on disk.
    """
    if (descriptor := descriptor_of(path)) is not None:
        if descriptor == 1 and sys.stdout is not None:
            sys.stdout.flush()
        _write_all(os.dup(descriptor), data, sync=False)
        return
    target = Path(os.path.realpath(path))
    try:
        found = os.stat(target)
    except FileNotFoundError:
        _replace(target, data, None, sync=sync)
        return
    if not stat.S_ISREG(found.st_mode):
        _write_all(os.open(target, os.O_WRONLY), data, sync=False)
        return
    os.close(os.open(target, os.O_WRONLY))  # refuses a file that may not be written
    try:
        _replace(target, data, found, sync=sync)
    except OSError as error:
        if error.errno not in _NOT_REPLACEABLE:
            raise
        _write_all(os.open(target, os.O_WRONLY | os.O_TRUNC), data, sync=sync)


def is_part(name: str) -> bool:
    """Return whether a file of that name is what a kill may leave of `write_file`."""
    return _PART.fullmatch(name) is not None


def write_output(path: Path, data: bytes) -> None:
    """Write a file that a user asked for, and its folder where there is none. Raises ConfigError with a remedy."""
    try:
        if descriptor_of(path) is None:
            path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, data)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}; name another file") from error


def descriptor_of(path: Path) -> int | None:
    """Return the open descriptor of this process that a path names, such as 1 for `/dev/stdout`; None for others."""
    own = Path("/proc", str(os.getpid()), "fd")
    at = path.absolute()
    for _ in range(_LINKS_AT_MOST):
        if at.name.isdecimal() and Path(os.path.realpath(at.parent)) == own:
            return int(at.name)
        if not at.is_symlink():
            return None
        at = at.parent / os.readlink(at)
    return None


def _replace(path: Path, data: bytes, former: os.stat_result | None, *, sync: bool) -> None:
    """Write a new file beside `path` and move it there. Raises PermissionError where its owner cannot be kept."""
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        try:
            if former is not None:
                _take_over(descriptor, former)
        except BaseException:
            os.close(descriptor)
            raise
        _write_all(descriptor, data, sync=sync)
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _take_over(descriptor: int, former: os.stat_result) -> None:
    """Give a new file the owner, group and mode of the former one."""
    new = os.fstat(descriptor)
    if (new.st_uid, new.st_gid) != (former.st_uid, former.st_gid):
        os.fchown(descriptor, former.st_uid, former.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(former.st_mode))


def _write_all(descriptor: int, data: bytes, *, sync: bool) -> None:
    """Write all of it and close the descriptor."""
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        left = memoryview(data)
        while left:
            left = left[file.write(left) or 0 :]
        if sync:
            os.fsync(file.fileno())
