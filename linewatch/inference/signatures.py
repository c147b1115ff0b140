"""Signatures of engine folders: who made an engine, and that no file of it was changed since.

`signature.json` lists the SHA-256 of every other file of the folder. It is signed by Ed25519 (RFC 8032), so that a
service which names the public keys that it trusts runs nothing else. Needs the extra `signing`.
"""

import base64
import hashlib
import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import ValidationError

from linewatch.contracts.closed import ClosedModel
from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import MANIFEST, Sha256
from linewatch.contracts.signer import SIGNER_PREFIX, Signer, fingerprint
from linewatch.files import write_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURE: Final = "signature.json"
_DOMAIN: Final = b"linewatch engine signature 1\n"
"""Stands before what is signed, so that no signature made for another purpose fits."""
_MAX_BYTES: Final = 1 << 20


class EngineSignature(ClosedModel):
    """The contents of `signature.json`. All but `signature` is signed."""

    schema_version: Literal[1] = 1
    engine: str
    files: dict[str, Sha256]
    signed_at: str
    signer: Signer
    signature: str

    def signed(self) -> bytes:
        """Return the bytes that the signature is of."""
        facts = self.model_dump(exclude={"signature"})
        return _DOMAIN + json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A signer's secret key."""

    secret: "Ed25519PrivateKey"

    @classmethod
    def read(cls, path: Path) -> "SigningKey":
        """Read a secret key. Raises EngineError, also when other users can read or change the file."""
        ed25519, serialization = _ed25519()
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            secret = serialization.load_pem_private_key(path.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise EngineError(
                f"{path}: is no signer's secret key ({error}); expected a file as `linewatch engine new-key` makes it"
            ) from error
        if not isinstance(secret, ed25519.Ed25519PrivateKey):
            raise EngineError(f"{path}: holds no Ed25519 key; use one of `linewatch engine new-key`")
        if mode & (stat.S_IRWXO | stat.S_IRWXG):
            raise EngineError(
                f"{path} has mode {mode:04o}: others on this host can read or change the secret key, expected 0600; if "
                f"someone may have read it, make a new one and trust the old one no longer; else chmod 600 {path}"
            )
        return cls(secret)

    @classmethod
    def new(cls, path: Path) -> "SigningKey":
        """Make a secret key in a new file that only its owner can read. Raises EngineError where there is one."""
        ed25519, serialization = _ed25519()
        secret = ed25519.Ed25519PrivateKey.generate()
        text = secret.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                os.fchmod(file.fileno(), 0o600)  # independent of the umask
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError as error:
            raise EngineError(f"{path}: there is a file already, which may be a key; name another one") from error
        except OSError as error:
            raise EngineError(f"cannot write {path}: {error.strerror}; name another file") from error
        return cls(secret)

    @property
    def signer(self) -> str:
        """The public key, as `[inference] trusted_signers` names it."""
        return SIGNER_PREFIX + base64.b64encode(self.secret.public_key().public_bytes_raw()).decode()

    def sign(self, directory: Path) -> EngineSignature:
        """Sign an engine's folder as it is now. Raises EngineError when it cannot be read or written."""
        unsigned = EngineSignature(
            engine=directory.name,
            files=_hashes(directory),
            signed_at=datetime.now(UTC).isoformat(timespec="seconds"),
            signer=self.signer,
            signature="",
        )
        if MANIFEST not in unsigned.files:
            raise EngineError(f"{directory}: has no {MANIFEST}, expected an engine's folder; name one")
        signature = base64.b64encode(self.secret.sign(unsigned.signed())).decode()
        signed = unsigned.model_copy(update={"signature": signature})
        try:
            write_file(directory / SIGNATURE, (signed.model_dump_json(indent=2) + "\n").encode(), sync=True)
        except OSError as error:
            raise EngineError(f"cannot write {directory / SIGNATURE}: {error.strerror}; make it writable") from error
        return signed


def verify(directory: Path, trusted: Sequence[str] | None, manifest: bytes | None = None) -> EngineSignature:
    """Return the signature of an engine's folder. trusted: public keys of signers; None: anybody's.

    manifest: the bytes of the manifest's file that are going to be used; its hashes bind model and reference tiles to
    the signature. Raises EngineError for an engine that is not signed, was changed, or has another signer.
    """
    name = directory.name
    found = _read(directory)
    if trusted is not None and found.signer not in trusted:
        known = ", ".join(map(fingerprint, trusted)) or "none"
        raise EngineError(
            f"engine {name}: signed by {fingerprint(found.signer)}, expected a trusted signer ({known}); have one of "
            "them sign it, or add its signer to [inference] trusted_signers"
        )
    _check_signature(found, name)
    if found.engine != name:
        raise EngineError(
            f"engine {name}: its signature is for {found.engine}, expected {name}; rename the folder, or sign it again"
        )
    there = _hashes(directory)
    if manifest is not None:
        there[MANIFEST] = hashlib.sha256(manifest).hexdigest()
    changed = [
        *(f"{file} is missing" for file in found.files if file not in there),
        *(f"{file} was added" for file in there if file not in found.files),
        *(f"{file} was changed" for file, digest in found.files.items() if there.get(file, digest) != digest),
    ]
    if changed:
        raise EngineError(
            f"engine {name}: {', '.join(changed[:5])} since {fingerprint(found.signer)} signed it; copy the engine "
            "again, or sign it again once you know why"
        )
    return found


def _read(directory: Path) -> EngineSignature:
    path = directory / SIGNATURE
    try:
        if not path.is_file():
            raise FileNotFoundError
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES)
        return EngineSignature.model_validate_json(data)
    except FileNotFoundError as error:
        raise EngineError(
            f"engine {directory.name}: is not signed, expected {SIGNATURE} of a trusted signer; sign it by `linewatch "
            f"engine sign {directory.name} --key FILE`"
        ) from error
    except (OSError, ValidationError) as error:
        raise EngineError(
            f"{path}: is no signature of an engine, expected one as `linewatch engine sign` writes it; sign it again"
        ) from error


def _check_signature(found: EngineSignature, name: str) -> None:
    ed25519, _ = _ed25519()
    from cryptography.exceptions import InvalidSignature

    public = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(found.signer.removeprefix(SIGNER_PREFIX)))
    try:
        public.verify(base64.b64decode(found.signature, validate=True), found.signed())
    except (InvalidSignature, ValueError) as error:
        raise EngineError(
            f"engine {name}: its {SIGNATURE} was changed since {fingerprint(found.signer)} signed it; copy the engine "
            "again, or sign it again once you know why"
        ) from error


def _hashes(directory: Path) -> dict[str, str]:
    """Return the hash of every file in the folder but the signature, by name. Raises EngineError."""
    hashes = {}
    try:
        for path in sorted(directory.iterdir()):
            if path.name == SIGNATURE:
                continue
            if not path.is_file():  # a folder, or what would hang the reader
                raise EngineError(
                    f"engine {directory.name}: {path.name} is no file, expected files alone in the folder of a signed "
                    "engine; remove it"
                )
            with path.open("rb") as file:
                hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EngineError(
            f"{directory}: cannot be read ({error.strerror}), expected the folder of an engine; name one"
        ) from error
    return hashes


def _ed25519() -> tuple[Any, Any]:
    """Return the modules of keys and of their serialisation. Raises EngineError without the extra."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise EngineError(
            "signatures of engines need the package cryptography, which is not installed: pip install "
            "'linewatch[signing]', or take [inference] trusted_signers out"
        ) from error
    return ed25519, serialization
