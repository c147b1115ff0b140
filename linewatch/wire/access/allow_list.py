"""Whose key may connect, and with which role: the public certificates (`NAME.key`) in one folder."""

import os
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from linewatch.contracts.access import Caller, Role
from linewatch.contracts.errors import WireError
from linewatch.wire.access.certificates import NAME, read_certificate

log = structlog.get_logger()

_SETTLED_NS = 50_000_000
"""A folder that changed so lately may change again within one tick of the file system's clock, and look the same."""
_READ_AGAIN_S = 1.0
"""For a file that somebody edits where it lies, which its folder does not show."""


@dataclass(frozen=True, slots=True)
class AllowedKey:
    """One file of the list. fault: why it lets nobody in; then public or role may be missing."""

    name: str
    public: bytes | None = None
    role: Role | None = None
    fault: str | None = None


def read_allow_list(folder: Path) -> tuple[AllowedKey, ...]:
    """Every certificate there, by name. One without a role is an observer's. Raises WireError for what is no folder
    that can be read.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".key") and not name.startswith("."))
    except OSError as error:
        raise WireError(f"{folder} cannot be read as a folder of keys: {error.strerror}") from error
    keys = [_read(folder / name) for name in names]
    owners = Counter(key.public for key in keys if key.public is not None)
    return tuple(
        replace(key, fault=f"the key of {key.name} is in {folder} under several names: {_names(keys, key)}; keep one")
        if key.public is not None and owners[key.public] > 1
        else key
        for key in keys
    )


def _read(path: Path) -> AllowedKey:
    name = path.name.removesuffix(".key")
    if not NAME.fullmatch(name):
        return AllowedKey(name, fault=f"{name!r} is no name for a key; expected letters, digits, '_', '.', '-'")
    try:
        certificate = read_certificate(path)
    except WireError as error:
        return AllowedKey(name, fault=str(error))
    try:
        role = Role(certificate.role or Role.OBSERVER)
    except ValueError:
        known = ", ".join(Role)
        return AllowedKey(name, certificate.public, None, f"{path} has role {certificate.role!r}; expected {known}")
    return AllowedKey(name, certificate.public, role)


def _names(keys: list[AllowedKey], like: AllowedKey) -> str:
    return ", ".join(key.name for key in keys if key.public == like.public)


class AllowList:
    """Always as its folder is: what comes, is replaced or goes there counts from the next look on, what is edited where
    it lies within a second.

    From any thread. A file that is at fault lets nobody in and keeps nobody else out.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._read_s = float("-inf")
        self._keys: tuple[AllowedKey, ...] | None = None
        self._callers: Mapping[bytes, Caller] = {}

    def find(self, public: bytes) -> Caller | None:
        """Whose key this is; None: nobody's who may connect."""
        with self._lock:
            seen, now_s = self._look(), time.monotonic()
            if seen is None or seen != self._seen or now_s - self._read_s > _READ_AGAIN_S:
                self._read_again()
                self._seen, self._read_s = seen, now_s
            return self._callers.get(public)

    def _look(self) -> tuple[int, int, int] | None:
        """What changes with the folder; None: not to be relied on."""
        try:
            about = os.stat(self.folder)
        except OSError:
            return None
        if abs(time.time_ns() - about.st_mtime_ns) < _SETTLED_NS:
            return None
        return about.st_dev, about.st_ino, about.st_mtime_ns

    def _read_again(self) -> None:
        unreadable = None
        try:
            keys = read_allow_list(self.folder)
        except WireError as error:
            keys, unreadable = (), str(error)
        if keys == self._keys:
            return
        allowed = [key for key in keys if key.public and not key.fault]
        self._callers = {key.public: Caller(key.name, key.role) for key in allowed if key.public}
        log.info("allow_list", allowed={key.name: key.role for key in allowed}, unreadable=unreadable)
        for key in keys:
            if key.fault:
                log.warning("key_not_allowed", name=key.name, fault=key.fault)
        self._keys = keys
