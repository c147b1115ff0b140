"""The keys that a configuration names: modes, age, and the last day of each allowed key."""

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from linewatch.config.text import why_not
from linewatch.contracts.errors import WireError
from linewatch.doctor.finding import HostFinding, fault, fine, note, warning
from linewatch.doctor.needs import HostNeeds
from linewatch.wire.access.allow_list import AllowedKey, read_allow_list

OLD_DAYS, SOON_DAYS = 730, 30


@dataclass(frozen=True, slots=True)
class SecretKeyFacts:
    """A file with a secret key. why: why it cannot be looked at."""

    path: Path
    mode: int = 0
    age_days: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class AllowListFacts:
    """A folder of allowed keys. why: why it cannot be read."""

    folder: Path
    keys: tuple[AllowedKey, ...] = ()
    why: str = ""


def look_at_keys(needs: HostNeeds) -> tuple[tuple[SecretKeyFacts, ...], tuple[AllowListFacts, ...]]:
    """Return the facts of secret keys and of lists of allowed ones."""
    secrets, lists = [], []
    for path in needs.secret_keys:
        try:
            about = os.stat(path)
            days = int((time.time() - about.st_mtime) / 86_400)
            secrets.append(SecretKeyFacts(path.absolute(), stat.S_IMODE(about.st_mode), days))
        except OSError as error:
            secrets.append(SecretKeyFacts(path.absolute(), why=why_not(path, error)))
    for folder in needs.allow_lists:
        try:
            lists.append(AllowListFacts(folder.absolute(), read_allow_list(folder)))
        except WireError as error:
            lists.append(AllowListFacts(folder.absolute(), why=str(error)))
    return tuple(secrets), tuple(lists)


def judge_keys(
    secrets: tuple[SecretKeyFacts, ...], lists: tuple[AllowListFacts, ...], today: date | None = None
) -> Iterator[HostFinding]:
    """Judge the keys. today: in UTC; None: now."""
    today = today or datetime.now(UTC).date()
    for secret in secrets:
        subject, found = f"key {secret.path.name}", f"{secret.path}: mode {secret.mode:04o}, {secret.age_days} days old"
        if secret.why:
            yield fault(
                subject,
                f"{secret.path}: {secret.why}",
                "the process does not start, or reaches no service",
                f"make it: linewatch keys new, or let its user read it: ls -l {secret.path}",
            )
        elif secret.mode & (stat.S_IRWXO | stat.S_IWGRP):
            yield fault(
                subject,
                f"{found}: others on this host can read or change it",
                "it is refused; and whoever has read it may command the line under this name",
                f"chmod 600 {secret.path}; if someone may have read it, revoke it and make a new one",
            )
        elif secret.age_days > OLD_DAYS:
            yield note(
                subject,
                found,
                "whoever has copied it in this time may still connect",
                "make a new pair (linewatch keys new), allow it, then revoke this one",
            )
        else:
            yield fine(subject, found)
    for one in lists:
        if one.why:
            yield fault(
                f"keys in {one.folder.name}",
                one.why,
                "nobody can connect",
                f"linewatch keys new NAME --role ROLE --dir {one.folder.parent}",
            )
            continue
        good = 0
        for key in one.keys:
            if (judged := _judge_allowed(key, one.folder, today)) is not None:
                yield judged
            else:
                good += 1
        yield fine(f"keys in {one.folder.name}", f"{one.folder}: {good} of {len(one.keys)} without remark")


def _judge_allowed(key: AllowedKey, folder: Path, today: date) -> HostFinding | None:
    """Return what is to be said of an allowed key; None: nothing."""
    subject, file = f"key {key.name}", folder / f"{key.name}.key"
    renew = f"linewatch keys allow {file} --role {key.role} --expires DATE --dir {folder.parent}"
    if key.fault:
        return fault(
            subject,
            key.fault,
            "its holder cannot connect, and the service does not start with it",
            f"mend or remove {file}",
        )
    if key.expires is None:
        return None
    left = (key.expires - today).days
    if left < 0:
        return warning(subject, f"expired on {key.expires}", "its holder cannot connect", renew)
    if left <= SOON_DAYS:
        return warning(
            subject, f"expires on {key.expires}, in {left} days", "its holder cannot connect from then on", renew
        )
    return None
