"""How a configuration is run on this host: by which systemd unit, in which folder, as which user, and by which process.

Relative paths in a configuration count from the working directory of the process that reads it. For an installed
service that is the unit's WorkingDirectory.
"""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

UNIT_FOLDERS = (Path("/etc/systemd/system"), Path("/run/systemd/system"), Path("/usr/lib/systemd/system"))


@dataclass(frozen=True, slots=True)
class Unit:
    """A systemd unit that runs a configuration. folder, user: None where the unit does not say."""

    name: str
    folder: Path | None
    user: str | None


def unit_of(config: Path) -> Unit | None:
    """Return the installed unit whose ExecStart names this configuration; None: no unit does."""
    for folder in UNIT_FOLDERS:
        for path in sorted(folder.glob("*.service")):
            try:
                lines = path.read_text(errors="replace").splitlines()
            except OSError:
                continue
            found = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith(("#", ";")))
            if str(config.absolute()) in found.get("ExecStart", "").split():
                place = found.get("WorkingDirectory")
                return Unit(path.name, Path(place) if place else None, found.get("User"))
    return None


def running_process(config: Path) -> int | None:
    """Return the process that runs this configuration already; None: there is none that this user can see."""
    wanted = config.resolve()
    for place in Path("/proc").iterdir():
        if not place.name.isdigit() or int(place.name) == os.getpid():
            continue
        try:
            words = [os.fsdecode(word) for word in (place / "cmdline").read_bytes().split(b"\0")]
            if not {"run", "history", "bridge"} & set(words) or not any("linewatch" in word for word in words):
                continue
            for word in words:
                if word.endswith(config.name) and _absolute(word, place) == wanted:
                    return int(place.name)
        except OSError:
            continue
    return None


def _absolute(word: str, process: Path) -> Path:
    path = Path(word)
    return (path if path.is_absolute() else Path(os.readlink(process / "cwd")) / path).resolve()


def user_name() -> str:
    """Return the name of the user that runs this process; its number where it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
