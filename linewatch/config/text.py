"""Read the text files of people and other systems: UTF-8, with or without a byte order mark, and any line ends."""

import codecs
import grp
import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from linewatch.contracts.errors import ConfigError


def read_text(path: Path, remedy: str) -> str:
    """Return the text of a UTF-8 file that a person or another system wrote. Raises ConfigError.

    remedy: what to do when the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        remedy = "" if isinstance(error, PermissionError) else f"; {remedy}"
        raise ConfigError(f"{path}: cannot be read ({why_not(path, error)}){remedy}") from error
    return text_of(data, path)


def text_of(data: bytes, origin: Path) -> str:
    """Return UTF-8 text without the byte order mark that Windows programs put before it.

    Raises ConfigError for another encoding, with the line of the first byte that does not fit.
    """
    remedy = "expected UTF-8; save the file again as UTF-8"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data[:4]:
        raise ConfigError(f"{origin}: is UTF-16 or UTF-32, {remedy}")
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        after = len(data) - len(error.object) + error.start  # of the byte, with the mark
        line, found = data.count(b"\n", 0, after) + 1, data[after]
        raise ConfigError(f"{origin}: is not UTF-8: line {line} has the byte 0x{found:02x}, {remedy}") from error


def why_not(path: Path, error: OSError) -> str:
    """Return why a file cannot be read or written.

    Where permission is lacking: with owner, group, mode and user, and the group to join where its members may read;
    never root's, whose members may do much more.
    """
    if not isinstance(error, PermissionError):
        return error.strerror or str(error)
    for place in (path, *path.absolute().parents):
        try:
            found = place.stat()
        except OSError:
            continue  # this one is hidden by a folder above it
        is_folder, group = stat.S_ISDIR(found.st_mode), _name(grp.getgrgid, found.st_gid)
        user = _name(pwd.getpwuid, os.geteuid())
        what = f"{'the folder ' if is_folder else ''}{place} is {_name(pwd.getpwuid, found.st_uid)}:{group}"
        said = f"{error.strerror}: {what}, mode {stat.S_IMODE(found.st_mode):04o}, and this is user {user}"
        wanted = stat.S_IRGRP | stat.S_IXGRP if is_folder else stat.S_IRGRP
        if found.st_gid and found.st_mode & wanted == wanted and found.st_gid not in (os.getegid(), *os.getgroups()):
            said += f"; members of the group {group} may read it: sudo usermod -aG {group} {user}, then log in again"
        return said
    return error.strerror or str(error)


def _name(look_up: Callable[[int], Any], number: int) -> str:
    """Return the name of a user or group; its number where it has no name."""
    try:
        return str(look_up(number)[0])
    except KeyError:
        return str(number)
