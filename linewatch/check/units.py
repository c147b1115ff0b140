"""How a configuration is run on this host: by which systemd unit, in which folder, as which user, and by which process.

Relative paths in a configuration count from the working directory of the process that reads it. For an installed
service that is the unit's WorkingDirectory.
"""

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from linewatch.contracts.errors import ConfigError

UNIT_FOLDERS = (Path("/etc/systemd/system"), Path("/run/systemd/system"), Path("/usr/lib/systemd/system"))


_STATE_FOLDERS = {"StateDirectory": "/var/lib", "LogsDirectory": "/var/log", "CacheDirectory": "/var/cache"}
_HOMES = tuple(map(Path, ("/home", "/root", "/run/user")))
_TEMPORARY = tuple(map(Path, ("/tmp", "/var/tmp")))


@dataclass(frozen=True, slots=True)
class Unit:
    """A systemd unit that runs a configuration. folder, user: None where the unit does not say.

    hidden: folders that its process cannot see. writable: the only ones that it can write; None: all that its user can.
    """

    name: str
    folder: Path | None
    user: str | None
    hidden: tuple[Path, ...] = ()
    writable: tuple[Path, ...] | None = None

    def refuse(self, path: Path, *, writes: bool) -> None:
        """Raise ConfigError for a path that the unit's protection keeps from its process."""
        path = path.absolute()
        if any(path.is_relative_to(folder) for folder in self.hidden):
            raise ConfigError(
                f"{path}: {self.name} hides it from its process (ProtectHome, PrivateTmp); name a place outside of "
                f"{', '.join(map(str, self.hidden))}"
            )
        if writes and self.writable is not None and not any(path.is_relative_to(one) for one in self.writable):
            where = ", ".join(map(str, self.writable)) or "no folder"
            raise ConfigError(
                f"{path}: {self.name} lets its process write {where} only (ProtectSystem=strict); name a place there, "
                f"or add ReadWritePaths={path} to the unit"
            )


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
                return _unit(path.name, found)
    return None


def _unit(name: str, found: Mapping[str, str]) -> Unit:
    hidden = (*_HOMES,) if found.get("ProtectHome") in ("yes", "true") else ()
    hidden += _TEMPORARY if found.get("PrivateTmp") in ("yes", "true") else ()
    writable = None
    if found.get("ProtectSystem") == "strict":
        states = [Path(top) / one for key, top in _STATE_FOLDERS.items() for one in found.get(key, "").split()]
        named = [Path(one.lstrip("-+")) for one in found.get("ReadWritePaths", "").split()]
        writable = (*states, *named)
    place = found.get("WorkingDirectory")
    return Unit(name, Path(place) if place else None, found.get("User"), hidden, writable)


def working_folder(unit: Unit | None, given: Path | None) -> Path:
    """Return the folder from which relative paths count: `given`, else the unit's, else the present one."""
    return given or (unit.folder if unit and unit.folder else None) or Path.cwd()


def running_process(config: Path) -> int | None:
    """Return the process that runs this configuration already; None: there is none that this user can see."""
    wanted = config.resolve()
    for place in Path("/proc").iterdir():
        if not place.name.isdigit() or int(place.name) == os.getpid():
            continue
        try:
            words = [os.fsdecode(word) for word in (place / "cmdline").read_bytes().split(b"\0")]
            if not {"run", "strip", "history", "bridge"} & set(words) or not any("linewatch" in word for word in words):
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
