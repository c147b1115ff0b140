"""The folder of keys that `linewatch keys` manages.

`server.key_secret` and `server.key` are the service's own pair. `clients/` is the allow-list ([wire.keys] clients_dir):
`NAME.key` files with roles. `NAME.key_secret` and `NAME.key` are a client's own pair, if it was made here.
"""

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import zmq

from linewatch.contracts.access import Role
from linewatch.contracts.errors import WireError
from linewatch.wire.access.allow_list import AllowedKey, read_allow_list
from linewatch.wire.access.certificates import NAME, Certificate, read_certificate, write_public, write_secret

SERVER = "server"
_SUCCESSOR = re.compile(r"(.+)\.([0-9]+)")


def allow_list_of(folder: Path) -> Path:
    """Return the allow-list's path in a folder of keys."""
    return folder / "clients"


def make_pair(folder: Path, name: str, role: Role | None = None, expires: date | None = None) -> tuple[Path, Path]:
    """Make a key pair; return the paths of its secret and public certificates. With a role, it is allowed at once.

    expires: the last day on which it may connect, in UTC. Raises WireError when the name is not valid or was used
    before: no key is ever overwritten.
    """
    _check(name)
    if name == SERVER and role is not None:
        raise WireError(f"{SERVER!r} is the service's own key and has no role; leave out --role, or name a client")
    public, secret = zmq.curve_keypair()
    if expires is not None and role is None:
        raise WireError("only an allowed key expires; give --role as well, or --expires to `linewatch keys allow`")
    certificate = Certificate(public, secret, role, _text_of(expires))
    at = _made(allow_list_of(folder) if role is not None else folder) / f"{name}.key"
    private = folder / f"{name}.key_secret"
    for path in (at, private):
        if path.exists():
            raise WireError(
                f"{path} exists already, and no key is overwritten; choose another name, or remove the file"
            )
    try:
        write_secret(private, replace(certificate, role=None, expires=None))
        write_public(at, certificate)
    except OSError as error:
        raise WireError(f"cannot write keys to {folder}: {error.strerror or error}") from error
    return private, at


def allow(folder: Path, file: Path, role: Role, name: str | None = None, expires: date | None = None) -> AllowedKey:
    """Add the key of a public certificate to the allow-list, or change its role and last day there.

    name: its name in the list; default: the file's. expires: the last day on which it may connect, in UTC; None: it
    does not expire. Raises WireError.
    """
    certificate = read_certificate(file)
    if certificate.secret is not None:
        raise WireError(f"{file} holds a secret key, which should never leave its owner; expected the *.key beside it")
    name = name or file.name.removesuffix(".key")
    _check(name)
    if name == SERVER:
        raise WireError(f"{SERVER!r} is the service's own key; give the client's another name: --name NAME")
    clients = _made(allow_list_of(folder))
    known = {key.name: key for key in read_allow_list(clients)}
    for key in known.values():
        if key.public == certificate.public and key.name != name:
            raise WireError(f"this key is allowed as {key.name!r} already; a key has one name: revoke that one first")
    if name in known and known[name].public != certificate.public:
        raise WireError(f"{name!r} is another key in {clients}; revoke that one first, or choose a name: --name NAME")
    try:
        certificate = replace(certificate, role=role, expires=_text_of(expires))
        write_public(clients / f"{name}.key", certificate, replace=name in known)
    except OSError as error:
        raise WireError(f"cannot write {clients / name}.key: {error.strerror or error}") from error
    return AllowedKey(name, certificate.public, role, None, expires)


def rotate(folder: Path, name: str, last_day: date) -> tuple[Path, Path, date]:
    """Make the successor of an allowed key, with its role and its own last day, and let the old one expire.

    Both may connect until `last_day` (UTC) is over; open connections go on. The successor is called NAME.2, NAME.3 and
    so on, so that the audit trail tells the two apart. Return the paths of its secret and public certificates, and the
    last day of the old key, which may be an earlier one that it had. Raises WireError.
    """
    clients = allow_list_of(folder)
    known = {key.name: key for key in read_allow_list(clients)}
    old = known.get(name)
    if old is None or old.public is None or old.role is None:
        usable = [key.name for key in known.values() if not key.fault]
        raise WireError(f"there is no usable key {name!r} in {clients}; its keys are {', '.join(usable) or 'none'}")
    stem, number = name, 2
    if match := _SUCCESSOR.fullmatch(name):
        stem, number = match[1], int(match[2]) + 1
    while (successor := f"{stem}.{number}") in known or (folder / f"{successor}.key_secret").exists():
        number += 1
    until = last_day if old.expires is None else min(last_day, old.expires)
    ends = _text_of(until)  # refuses a day that is over, before anything is written
    private, public = make_pair(folder, successor, old.role, old.expires)
    try:
        write_public(clients / f"{name}.key", Certificate(old.public, None, old.role, ends), replace=True)
    except OSError as error:
        raise WireError(f"cannot write {clients / name}.key: {error.strerror or error}") from error
    return private, public, until


def revoke(folder: Path, name: str) -> int:
    """Remove a key from the allow-list; return how many are left. Raises WireError when it is not in the list."""
    clients = allow_list_of(folder)
    known = [key.name for key in read_allow_list(clients)]
    if name not in known:
        raise WireError(f"there is no key {name!r} in {clients}; its keys are {', '.join(known) or 'none'}")
    try:
        (clients / f"{name}.key").unlink()
    except OSError as error:
        raise WireError(f"cannot remove {clients / name}.key: {error.strerror}") from error
    return len(known) - 1


def _text_of(expires: date | None) -> str | None:
    """Return the last day as a certificate has it. Raises WireError for a day that is over."""
    if expires is not None and expires < (today := datetime.now(UTC).date()):
        raise WireError(f"expires {expires} is over, expected {today} or later; `linewatch keys revoke` ends a key")
    return None if expires is None else expires.isoformat()


def _check(name: str) -> None:
    if not NAME.fullmatch(name):
        raise WireError(f"{name!r} is not a valid name for a key; expected up to 64 letters, digits, '_', '.' and '-'")


def _made(folder: Path) -> Path:
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise WireError(f"cannot make the folder {folder}: {error.strerror}") from error
    return folder
