"""Who may change what linewatch reads and writes. Whether its own user may, `linewatch check` tries."""

import pwd
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from linewatch.doctor.finding import HostFinding, fault, fine, warning
from linewatch.doctor.needs import HostNeeds


@dataclass(frozen=True, slots=True)
class OwnershipFacts:
    """A file or folder. what: its setting. owner: a user's name; a number where there is none. mode: 12 bits."""

    what: str
    path: Path
    owner: str
    mode: int
    is_folder: bool = True
    is_written: bool = True


def look_at_ownership(needs: HostNeeds) -> tuple[OwnershipFacts, ...]:
    """Return who owns the folders that are written, the configuration, and the lists of keys, of those that exist."""
    asked = [(needed.setting, needed.path, True) for needed in needs.folders]
    asked += [("[wire.keys] clients_dir", path, False) for path in needs.allow_lists]
    if needs.config is not None:
        asked.append(("configuration", needs.config, False))
    found = []
    for what, path, is_written in asked:
        with suppress(OSError):
            about = path.stat()
            try:
                owner = pwd.getpwuid(about.st_uid).pw_name
            except KeyError:
                owner = str(about.st_uid)
            is_folder = stat.S_ISDIR(about.st_mode)
            found.append(
                OwnershipFacts(what, path.absolute(), owner, stat.S_IMODE(about.st_mode), is_folder, is_written)
            )
    return tuple(found)


def judge_ownership(facts: tuple[OwnershipFacts, ...], needs: HostNeeds) -> Iterator[HostFinding]:
    """Judge who may change the files and folders, and read a configuration with a password."""
    for one in facts:
        subject = f"permissions of {one.what}"
        found = f"{one.path}: {one.owner}, mode {one.mode:04o}"
        if one.mode & stat.S_IWOTH and not one.mode & stat.S_ISVTX:
            yield fault(
                subject,
                f"{found}: every user of this host may change it",
                "whoever logs in can change what linewatch does, or what it has recorded",
                f"sudo chmod o-w {one.path}",
            )
        elif one.what == "configuration" and needs.holds_password and one.mode & stat.S_IROTH:
            yield warning(
                subject,
                f"{found}: every user of this host may read the database's password in it",
                "whoever logs in can change or remove the history",
                f"sudo chgrp {needs.user or 'linewatch'} {one.path} && sudo chmod 640 {one.path}, or keep the password "
                "in ~/.pgpass of its user",
            )
        elif one.is_written and needs.user is not None and one.owner != needs.user and not one.mode & stat.S_IWGRP:
            yield warning(
                subject,
                f"{found}, but it runs as {needs.user}",
                "it cannot write there: nothing is kept of what is decided",
                f"sudo chown -R {needs.user} {one.path}",
            )
        else:
            yield fine(subject, found)
