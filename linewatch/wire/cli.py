"""`linewatch keys` and `schema`."""

import datetime
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from linewatch.contracts.access import Role
from linewatch.contracts.errors import ConfigError, WireError
from linewatch.files import write_output
from linewatch.terminal import AsJson, plain_console, wide_console

if TYPE_CHECKING:
    from linewatch.wire.access.allow_list import AllowedKey

keys = App(name="keys", group_commands="Actions")

Folder = Annotated[Path, Parameter(name="--dir", help="Folder of keys; its clients/ is [wire.keys] clients_dir.")]

Expires = Annotated[
    datetime.date | None, Parameter(help="Last day on which the key may connect, in UTC. Default: it does not expire.")
]

_FOLDER = Path("keys")
_OVERLAP_DAYS = 7
"""How long a key and its successor may both connect."""


@keys.default
def no_action(*words: Annotated[str, Parameter(show=False)]) -> None:
    raise ConfigError(f"keys: expected new, allow, list, rotate or revoke, found {' '.join(words) or 'nothing'}")


@keys.command
def new(
    name: str,
    /,
    *,
    role: Role | None = None,
    expires: Expires = None,
    folder: Folder = _FOLDER,
    as_json: AsJson = False,
) -> None:
    """Make a key pair; with a role it is allowed at once. "server" is the key of the service."""
    from linewatch.wire.access import keyring

    private, public = keyring.make_pair(folder, name, role, expires)
    facts = {"name": name, "role": role, "secret_file": str(private), "public_file": str(public)}
    use = f"allowed as {role}{_until(expires)}" if role else "for the other side"
    print(json.dumps(facts) if as_json else f"{private}: for its owner alone\n{public}: {use}")


@keys.command
def allow(
    file: Annotated[Path, Parameter(help="Public certificate of the client, NAME.key.")],
    /,
    *,
    role: Role,
    expires: Expires = None,
    name: Annotated[str | None, Parameter(help="Name in the list. Default: the name of the file.")] = None,
    folder: Folder = _FOLDER,
    as_json: AsJson = False,
) -> None:
    """Allow the key of a public certificate, or change the role and last day of an allowed key."""
    from linewatch.wire.access import keyring

    key = keyring.allow(folder, file, role, name, expires)
    facts = {"name": key.name, "role": key.role} | ({"expires": str(expires)} if expires else {})
    print(json.dumps(facts) if as_json else f"{key.name}: allowed as {key.role}{_until(expires)}")


@keys.command(name="list")
def list_keys(*, folder: Folder = _FOLDER, as_json: AsJson = False) -> int:
    """List the keys that may connect, and their roles."""
    from linewatch.wire.access import keyring
    from linewatch.wire.access.allow_list import read_allow_list
    from linewatch.wire.access.certificates import fingerprint

    allowed = read_allow_list(keyring.allow_list_of(folder))
    if as_json:
        prints = [key.public and fingerprint(key.public) for key in allowed]
        rows = [
            asdict(key)
            | {"public": key.public and key.public.decode(), "expires": key.expires and key.expires.isoformat()}
            for key in allowed
        ]
        print(json.dumps([row | {"fingerprint": one} for row, one in zip(rows, prints, strict=True)]))
    else:
        _print_keys(allowed)
    return WireError.exit_code if any(key.fault for key in allowed) else 0


@keys.command
def rotate(
    name: str,
    /,
    *,
    until: Annotated[
        datetime.date | None, Parameter(help="Last day on which the old key may connect, in UTC. Default: in 7 days.")
    ] = None,
    folder: Folder = _FOLDER,
    as_json: AsJson = False,
) -> None:
    """Make the successor of a key, with its role. Both may connect until the old one's last day."""
    from linewatch.wire.access import keyring

    last_day = until or datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=_OVERLAP_DAYS)
    private, public, last_day = keyring.rotate(folder, name, last_day)
    facts = {
        "name": public.name.removesuffix(".key"),
        "secret_file": str(private),
        "public_file": str(public),
        "old": name,
    }
    if as_json:
        print(json.dumps(facts | {"old_expires": str(last_day)}))
    else:
        print(f"{private}: for its owner alone\n{public}: allowed at once\n{name}: allowed until {last_day}")


@keys.command
def revoke(name: str, /, *, folder: Folder = _FOLDER, as_json: AsJson = False) -> None:
    """Withdraw the permission of a key, on open connections as well."""
    from linewatch.wire.access import keyring

    left = keyring.revoke(folder, name)
    said = f"{name}: not allowed any more" + (
        "" if left else "; none is left, and the service does not start without one"
    )
    print(json.dumps({"name": name, "role": None}) if as_json else said)


def schema(*, out: Annotated[Path | None, Parameter(help="File to write instead of printing.")] = None) -> None:
    from linewatch.wire.json_schema import wire_schema

    if out is None:
        print(wire_schema(), end="")
    else:
        write_output(out, wire_schema().encode())


def _until(expires: datetime.date | None) -> str:
    return f" until {expires}" if expires else ""


def _print_keys(allowed: "tuple[AllowedKey, ...]") -> None:
    from rich.table import Table
    from rich.text import Text

    from linewatch.wire.access.certificates import fingerprint

    table = Table(title_justify="left")
    for column in ("name", "role", "until", "fingerprint", "public key", "fault"):
        table.add_column(column, overflow="fold")
    for key in allowed:
        public = key.public.decode() if key.public else ""
        role = None if key.fault else key.role
        short = fingerprint(key.public) if key.public else None
        until = "" if key.expires is None else f"{key.expires}{', EXPIRED' if key.expired(time.time()) else ''}"
        table.add_row(key.name, role, until, short, Text(public), Text(key.fault or ""))
    plain_console().print(table)


def audit(
    folder: Annotated[Path, Parameter(help="The folder `audit` in the service's [journal] dir.")],
    /,
    *,
    last: Annotated[int | None, Parameter(help="Print only so many of the newest lines.")] = None,
    as_json: AsJson = False,
) -> int:
    from linewatch.wire.access.audit import read_audit

    lines = list(read_audit(folder))
    shown = lines[-last:] if last else lines
    if as_json:
        for line in shown:
            print(json.dumps(line, ensure_ascii=False))
    else:
        _print_audit(shown)
    return WireError.exit_code if any("missing" in line for line in lines) else 0


def _print_audit(lines: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(title_justify="left")
    for column in ("at (UTC)", "key", "role", "from", "what", "outcome", "details"):
        table.add_column(column, overflow="fold")
    for line in lines:
        if "missing" in line:
            count = line["missing"]
            table.add_row(
                "", "", "", "", "lines are missing here", "", f"{count} lines" if count else "not known how many"
            )
            continue
        if line["event"] != "command":
            table.add_row(line["at"][:23], "", "", "", f"service {line['event']}")
            continue
        asked = {name: value for name, value in (line.get("asked") or {}).items() if value is not None}
        details = [
            f"{name}={value}" for name, value in asked.items() if name not in ("id", "request", "action", "token")
        ]
        details += [line["why"]] if line.get("why") else []
        if line.get("more"):
            details.append(f"and {line['more'] - 1} more of this kind within {line['within_s']:.0f} s")
        cells = (line["at"][:23], line["key"] or "", line["role"] or "", line["peer"], line["what"], line["outcome"])
        table.add_row(*cells, "; ".join(details))
    wide_console().print(table)
