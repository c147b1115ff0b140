"""CURVE certificates in files in the format of zmq.auth: `NAME.key` has a public key, `NAME.key_secret` both keys.

In an allow-list, a public certificate also has a `role`, under `metadata`, and `expires` where it does.
"""

import os
import re
import stat
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import zmq

from linewatch.contracts.errors import WireError

NAME: re.Pattern[str] = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")  # Z85 of 32 bytes
_ENTRY = re.compile(
    r"""^[ \t]*(public-key|secret-key|role|expires)[ \t]*=[ \t]*["']?([^"'\s]*)["']?[ \t]*$""", re.MULTILINE
)
_MAX_BYTES = 16 << 10


@dataclass(frozen=True, slots=True)
class Certificate:
    """Keys in Z85, 40 characters each. role, expires: as written in the file, unchecked."""

    public: bytes
    secret: bytes | None = None
    role: str | None = None
    expires: str | None = None


def fingerprint(public: bytes) -> str:
    """Return the short name of a public key in logs and lists: 16 hex digits of the SHA-256 of its Z85 text."""
    return sha256(public).hexdigest()[:16]


def read_certificate(path: Path) -> Certificate:
    """Read a certificate. Raises WireError when the file is missing, unreadable or not a certificate."""
    try:
        if not path.is_file():
            raise ValueError("there is no such file")
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        return _parse(text)
    except (OSError, ValueError) as error:
        raise WireError(
            f"{path} is not a CURVE certificate ({error}); expected a file as `linewatch keys new` makes it"
        ) from error


def read_secret(path: Path) -> Certificate:
    """Read a certificate with a secret key. Raises WireError, also when other users can read or change the file."""
    certificate = read_certificate(path)
    if certificate.secret is None:
        raise WireError(f"{path} holds no secret key; expected the *.key_secret file beside it")
    if zmq.curve_public(certificate.secret) != certificate.public:
        raise WireError(f"{path}: its public key is not that of its secret key; make a new pair: `linewatch keys new`")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise WireError(
            f"{path} has mode {mode:04o}: others on this host can read or change the secret key; expected 0600. "
            f"If someone may have read it, revoke it and make a new one; else chmod 600 {path}"
        )
    return certificate


def _parse(text: bytes) -> Certificate:
    if len(text) > _MAX_BYTES:
        raise ValueError(f"more than {_MAX_BYTES} bytes")
    entries = _ENTRY.findall(text.decode("utf-8", "replace"))
    found = dict(entries)
    if len(found) < len(entries):
        raise ValueError("it has a key, role or expiry twice")
    if "public-key" not in found:
        raise ValueError("it has no public key")
    for name in ("public-key", "secret-key"):
        if name in found and not _KEY.fullmatch(found[name]):
            raise ValueError(f"its {name} is not 40 characters of Z85")
    secret = found["secret-key"].encode() if "secret-key" in found else None
    return Certificate(found["public-key"].encode(), secret, found.get("role"), found.get("expires"))


def write_secret(path: Path, certificate: Certificate) -> None:
    """Write a new secret certificate that only its owner can read. Raises FileExistsError, or OSError."""
    if certificate.secret is None:
        raise ValueError("a certificate without a secret key")
    _write_new(path, 0o600, _text(certificate, "SECRET certificate: do not share it, keep its permissions"))


def write_public(path: Path, certificate: Certificate, *, replace: bool = False) -> None:
    """Write a public certificate atomically. Raises FileExistsError for an existing one without `replace`."""
    public = Certificate(certificate.public, None, certificate.role, certificate.expires)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _write_new(part, 0o644, _text(public, "public certificate"))
        if replace:
            part.replace(path)
        else:
            os.link(part, path)  # unlike a rename, this fails when `path` exists
    finally:
        part.unlink(missing_ok=True)


def _write_new(path: Path, mode: int, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        os.fchmod(file.fileno(), mode)  # independent of the umask
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _text(certificate: Certificate, what: str) -> str:
    lines = [f"# linewatch, CURVE {what}", "metadata"]
    if certificate.role is not None:
        lines.append(f'    role = "{certificate.role}"')
    if certificate.expires is not None:
        lines.append(f'    expires = "{certificate.expires}"')
    lines += ["curve", f'    public-key = "{certificate.public.decode()}"']
    if certificate.secret is not None:
        lines.append(f'    secret-key = "{certificate.secret.decode()}"')
    return "\n".join(lines) + "\n"
