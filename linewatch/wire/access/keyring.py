"""A folder of keys, kept by `linewatch keys`.

`server.key_secret` and `server.key` are the service's own pair; `clients/NAME.key` is the allow-list, each with its
role ([wire.keys] clients_dir). `NAME.key_secret` is a client's secret, `NAME.key` its public key, if made here.
"""

from dataclasses import replace
from pathlib import Path

import zmq

from linewatch.contracts.access import Role
from linewatch.contracts.errors import WireError
from linewatch.wire.access.allow_list import AllowedKey, read_allow_list
from linewatch.wire.access.certificates import NAME, Certificate, read_certificate, write_public, write_secret

SERVER = "server"


def allow_list_of(folder: Path) -> Path:
    """Where the allow-list is in a folder of keys."""
    return folder / "clients"


def make_pair(folder: Path, name: str, role: Role | None = None) -> tuple[Path, Path]:
    """A new key pair; where it lies: the secret certificate, and the public one, in the allow-list if it has a role.

    Raises WireError when the name cannot be used or was used before: nothing is ever written over.
    """
    _check(name)
    if name == SERVER and role is not None:
        raise WireError(f"{SERVER!r} is the service's own key and has no role; leave --role away, or name a client")
    public, secret = zmq.curve_keypair()
    certificate = Certificate(public, secret, role)
    at = _made(allow_list_of(folder) if role is not None else folder) / f"{name}.key"
    private = folder / f"{name}.key_secret"
    for path in (at, private):
        if path.exists():
            raise WireError(f"{path} is there already, and no key is written over; choose another name, or remove it")
    try:
        write_secret(private, replace(certificate, role=None))
        write_public(at, certificate)
    except OSError as error:
        raise WireError(f"cannot write keys to {folder}: {error.strerror or error}") from error
    return private, at


def allow(folder: Path, file: Path, role: Role, name: str | None = None) -> AllowedKey:
    """Let the key of a public certificate in with that role; of one that is in the list, change the role.

    name: to go by in the list, default: the file's. Raises WireError.
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
        write_public(clients / f"{name}.key", replace(certificate, role=role), replace=name in known)
    except OSError as error:
        raise WireError(f"cannot write {clients / name}.key: {error.strerror or error}") from error
    return AllowedKey(name, certificate.public, role)


def revoke(folder: Path, name: str) -> int:
    """Take a key out of the allow-list; how many are left. Raises WireError when it is not there."""
    clients = allow_list_of(folder)
    known = [key.name for key in read_allow_list(clients)]
    if name not in known:
        raise WireError(f"no key {name!r} in {clients}; there are {', '.join(known) or 'none'}")
    try:
        (clients / f"{name}.key").unlink()
    except OSError as error:
        raise WireError(f"cannot remove {clients / name}.key: {error.strerror}") from error
    return len(known) - 1


def _check(name: str) -> None:
    if not NAME.fullmatch(name):
        raise WireError(f"{name!r} is no name for a key; expected up to 64 letters, digits, '_', '.' and '-'")


def _made(folder: Path) -> Path:
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise WireError(f"cannot make the folder {folder}: {error.strerror}") from error
    return folder
