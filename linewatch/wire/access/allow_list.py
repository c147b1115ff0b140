"""The allow-list: the keys that may connect and their roles, as public certificates (`NAME.key`) in one folder."""

import os
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

import structlog

from linewatch.contracts.access import Caller, Role
from linewatch.contracts.errors import WireError
from linewatch.wire.access.certificates import NAME, read_certificate

log = structlog.get_logger()

_SETTLED_NS = 50_000_000
"""A folder changed this recently may change again within one tick of the file system's clock, and look unchanged."""
_READ_AGAIN_S = 1.0
"""Re-read at least this often, because an edit of a file in place does not change the folder's time stamp."""


@dataclass(frozen=True, slots=True)
class AllowedKey:
    """One file of the list. fault: why its key may not connect; then public or role may be missing.

    expires: the last day on which it may connect, in UTC; None: it does not expire.
    """

    name: str
    public: bytes | None = None
    role: Role | None = None
    fault: str | None = None
    expires: date | None = None

    def expired(self, now_unix_s: float) -> bool:
        """Return whether its last day is over."""
        return self.expires is not None and datetime.fromtimestamp(now_unix_s, UTC).date() > self.expires


def read_allow_list(folder: Path) -> tuple[AllowedKey, ...]:
    """Return the certificates in `folder`, by name. A certificate without a role is an observer's.

    Raises WireError when `folder` is not a readable folder.
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
        return AllowedKey(
            name, fault=f"{name!r} is not a valid name for a key; expected letters, digits, '_', '.', '-'"
        )
    try:
        certificate = read_certificate(path)
    except WireError as error:
        return AllowedKey(name, fault=str(error))
    try:
        role = Role(certificate.role or Role.OBSERVER)
    except ValueError:
        known = ", ".join(Role)
        return AllowedKey(name, certificate.public, None, f"{path} has role {certificate.role!r}; expected {known}")
    try:
        expires = date.fromisoformat(certificate.expires) if certificate.expires is not None else None
    except ValueError:
        fault = f"{path} expires {certificate.expires!r}; expected a date, such as 2027-12-31"
        return AllowedKey(name, certificate.public, None, fault)
    return AllowedKey(name, certificate.public, role, None, expires)


def _names(keys: list[AllowedKey], like: AllowedKey) -> str:
    return ", ".join(key.name for key in keys if key.public == like.public)


class AllowList:
    """Follows its folder: files added, replaced or removed count from the next `find` on, edits in place within 1 s.

    Thread-safe. A faulty file excludes its own key and no other. A key whose last day is over is not found any more.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._read_s = float("-inf")
        self._keys: tuple[AllowedKey, ...] | None = None
        self._callers: Mapping[bytes, Caller] = {}
        self._expired: set[AllowedKey] = set()

    def find(self, public: bytes) -> Caller | None:
        """Return the owner of a key, or None when it may not connect."""
        with self._lock:
            seen, now_s = self._stamp(), time.monotonic()
            if seen is None or seen != self._seen or now_s - self._read_s > _READ_AGAIN_S:
                self._reload()
                self._seen, self._read_s = seen, now_s
            return self._callers.get(public)

    def _stamp(self) -> tuple[int, int, int] | None:
        """Return a value that changes whenever the folder does; None: it cannot be relied on now."""
        try:
            about = os.stat(self.folder)
        except OSError:
            return None
        if abs(time.time_ns() - about.st_mtime_ns) < _SETTLED_NS:
            return None
        return about.st_dev, about.st_ino, about.st_mtime_ns

    def _reload(self) -> None:
        unreadable = None
        try:
            keys = read_allow_list(self.folder)
        except WireError as error:
            keys, unreadable = (), str(error)
        expired = {key for key in keys if key.expired(time.time())}
        if keys == self._keys and expired == self._expired:
            return
        allowed = [key for key in keys if key.public and not key.fault and key not in expired]
        self._callers = {key.public: Caller(key.name, key.role) for key in allowed if key.public}
        log.info("allow_list_read", allowed={key.name: key.role for key in allowed}, unreadable=unreadable)
        for key in keys:
            if key.fault:
                log.warning("key_not_allowed", name=key.name, fault=key.fault)
        for key in sorted(expired - self._expired, key=lambda key: key.name):
            log.warning("key_expired", name=key.name, expires=str(key.expires))
        self._keys, self._expired = keys, expired
