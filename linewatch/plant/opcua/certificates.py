"""The certificates of an OPC UA bridge: its own, made at the first start, and the list of clients that it trusts.

    pki_dir/own/certificate.der     give it to the clients, which must trust it
    pki_dir/own/private_key.pem     mode 0600
    pki_dir/trusted/*.der           clients that may connect
    pki_dir/rejected/*.der          the newest clients that were refused, for `linewatch opcua-trust`

A client is trusted by its very certificate (OPC 10000-4, 6.1.3, without chains of issuers).
"""

import hashlib
import ipaddress
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from asyncua.crypto.cert_gen import dump_private_key_as_pem, generate_private_key, generate_self_signed_app_certificate
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from linewatch.contracts.errors import ConfigError
from linewatch.files import write_file
from linewatch.plant.opcua.settings import OpcuaSettings

VALID_DAYS = 3650  # clients must be given a new one when it ends
EXPIRES_SOON_DAYS = 60
MAX_REJECTED = 32
_LARGEST_BYTES = 16_384
_SHORTEST_KEY_BITS = 2048  # Basic256Sha256: 2048 to 4096 bits

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class OwnIdentity:
    """The server's certificate and key. application_uri: the one that stands in the certificate."""

    certificate: x509.Certificate
    key: RSAPrivateKey
    application_uri: str


@dataclass(frozen=True, slots=True)
class KnownCertificate:
    """A certificate in the trust list or among the rejected ones."""

    path: Path
    certificate: x509.Certificate

    @property
    def sha256(self) -> str:
        """Its SHA-256 fingerprint, hexadecimal."""
        return fingerprint(self.certificate)


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 fingerprint of a certificate, 64 hexadecimal digits."""
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def common_name(certificate: x509.Certificate) -> str:
    """Return the common name of a certificate's subject, printable; empty when there is none."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    text = str(names[0].value) if names else ""
    return "".join(sign if sign.isprintable() else "?" for sign in text)[:100]


def application_uri(certificate: x509.Certificate) -> str:
    """Return the application URI that a certificate names; empty when there is none."""
    with suppress(x509.ExtensionNotFound, ValueError):
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        for uri in names.get_values_for_type(x509.UniformResourceIdentifier):
            return str(uri)
    return ""


def days_left(certificate: x509.Certificate) -> int:
    """Return for how many more days a certificate is valid; below zero: it has expired."""
    return (certificate.not_valid_after_utc - datetime.now(UTC)).days


def why_not_valid(certificate: x509.Certificate) -> str | None:
    """Return why a certificate is not valid by this host's clock, with the remedy; None: it is valid."""
    now, begin, end = datetime.now(UTC), certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if begin <= now <= end:
        return None
    remedy = "renew it" if now > end else "wait until then"
    return (
        f"it is valid from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC, and the time here is "
        f"{now:%Y-%m-%d %H:%M}; {remedy}, or correct the clock of this host or of the one that made it"
    )


def read_certificate(data: bytes) -> x509.Certificate:
    """Return the certificate in these bytes, DER or PEM. Raises ValueError."""
    if len(data) > _LARGEST_BYTES:
        raise ValueError(f"{len(data)} bytes are too many for a certificate")
    if data.lstrip().startswith(b"-----"):
        return x509.load_pem_x509_certificate(data)
    return x509.load_der_x509_certificate(data)


def read_own(pki_dir: Path) -> x509.Certificate | None:
    """Return the server's certificate; None before the first start. Raises ConfigError when it cannot be read."""
    at = pki_dir / "own" / "certificate.der"
    try:
        return read_certificate(at.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{at}: cannot be read as a certificate ({error}); run this as the bridge's user, or remove it and its key "
            "to have new ones made"
        ) from error


def own_identity(settings: OpcuaSettings) -> OwnIdentity:
    """Return the server's certificate and key; make them when they do not exist. Raises ConfigError."""
    folder = settings.pki_dir / "own"
    at, key_at = folder / "certificate.der", folder / "private_key.pem"
    try:
        if not at.exists() and not key_at.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _make(at, key_at, settings)
        certificate = read_certificate(at.read_bytes())
        key = load_pem_private_key(key_at.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{folder}: the server's certificate or key cannot be used ({error}); expected certificate.der and "
            "private_key.pem; let this user read and write the folder, or remove both files to have new ones made"
        ) from error
    if not isinstance(key, RSAPrivateKey) or key.public_key() != certificate.public_key():
        raise ConfigError(f"{key_at}: is not the key of {at}; remove both files to have new ones made")
    return OwnIdentity(certificate, key, application_uri(certificate))


def _make(at: Path, key_at: Path, settings: OpcuaSettings) -> None:
    host = settings.listen.host or socket.gethostname()
    key = generate_private_key()
    names: list[x509.GeneralName] = [
        x509.UniformResourceIdentifier(f"urn:{host}:linewatch:{settings.system.replace(' ', '-')}"),
        _host_entry(host),
    ]
    certificate = generate_self_signed_app_certificate(
        key,
        f"{settings.system}@{host}"[:64],
        {"organizationName": "linewatch"},
        names,
        [ExtendedKeyUsageOID.SERVER_AUTH],
        days=VALID_DAYS,
    )
    descriptor = os.open(key_at, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(dump_private_key_as_pem(key))
    write_file(at, certificate.public_bytes(Encoding.DER), sync=True)


def _host_entry(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


class TrustList:
    """The clients that may connect. Read again when the folder has changed."""

    def __init__(self, pki_dir: Path) -> None:
        self._trusted_dir, self._rejected_dir = pki_dir / "trusted", pki_dir / "rejected"
        self._read_ns = -1
        self._trusted: frozenset[bytes] = frozenset()

    def make_folders(self) -> None:
        """Make the folders where they do not exist. Raises ConfigError."""
        try:
            for folder in (self._trusted_dir, self._rejected_dir):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{error.filename}: cannot be made ({error.strerror}); give [pki_dir] a folder"
            ) from error

    def trusted(self) -> list[KnownCertificate]:
        """Return the trusted clients. Files that hold no certificate are left out."""
        return _certificates(self._trusted_dir)

    def rejected(self) -> list[KnownCertificate]:
        """Return the newest clients that were refused."""
        return _certificates(self._rejected_dir)

    def why_refused(self, der: bytes) -> str | None:
        """Return why a client with this certificate may not connect; None: it may. The reason is for the log."""
        try:
            certificate = read_certificate(der)
            key = certificate.public_key()
        except (ValueError, TypeError, x509.InvalidVersion) as error:
            return f"it cannot be read ({error})"
        if not isinstance(key, RSAPublicKey) or key.key_size < _SHORTEST_KEY_BITS:
            return f"its key is no RSA key of at least {_SHORTEST_KEY_BITS} bits"
        if certificate.public_bytes(Encoding.DER) not in self._known():
            self._remember(certificate)
            return "it is not in the trust list; compare its fingerprint, and let it in by linewatch opcua-trust"
        return why_not_valid(certificate)

    def trust(self, certificate: x509.Certificate) -> Path:
        """Let a client connect. Raises ConfigError when the folder cannot be written."""
        self.make_folders()
        path = self._trusted_dir / f"{fingerprint(certificate)}.der"
        try:
            write_file(path, certificate.public_bytes(Encoding.DER), sync=True)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written ({error.strerror}); run this as the bridge's user") from error
        (self._rejected_dir / path.name).unlink(missing_ok=True)
        return path

    def _known(self) -> frozenset[bytes]:
        try:
            changed_ns = self._trusted_dir.stat().st_mtime_ns
        except OSError:
            return frozenset()
        if changed_ns != self._read_ns:
            self._trusted = frozenset(one.certificate.public_bytes(Encoding.DER) for one in self.trusted())
            self._read_ns = changed_ns
        return self._trusted

    def _remember(self, certificate: x509.Certificate) -> None:
        path = self._rejected_dir / f"{fingerprint(certificate)}.der"
        with suppress(OSError):
            if not path.exists():
                write_file(path, certificate.public_bytes(Encoding.DER))
                kept = sorted(self._rejected_dir.glob("*.der"), key=lambda file: file.stat().st_mtime_ns)
                for old in kept[:-MAX_REJECTED]:
                    old.unlink(missing_ok=True)


def _certificates(folder: Path) -> list[KnownCertificate]:
    found = []
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix in (".der", ".pem", ".crt", ".cer"))
    except OSError:
        return []
    for path in paths:
        try:
            found.append(KnownCertificate(path, read_certificate(path.read_bytes())))
        except (OSError, ValueError) as error:
            log.warning("certificate_unreadable", file=str(path), why=str(error))
    return found
