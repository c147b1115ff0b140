"""The certificates and tokens by which processes are known to whoever connects: validity, and who may read them."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from linewatch.config.text import why_not
from linewatch.contracts.errors import ConfigError
from linewatch.doctor.finding import HostFinding, fault, fine, warning
from linewatch.doctor.needs import HostNeeds
from linewatch.server_certificate import ServerCertificate, read_server_certificate

SOON_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """why: why it cannot be used."""

    setting: str
    path: Path
    certificate: ServerCertificate | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class SecretFileFacts:
    """A key's or a token's file. why: why it cannot be looked at."""

    path: Path
    mode: int = 0
    why: str = ""


def look_at_certificates(needs: HostNeeds) -> tuple[tuple[CertificateFacts, ...], tuple[SecretFileFacts, ...]]:
    """Return the facts of certificates, and of the secret files beside them."""
    certificates = []
    for one in needs.certificates:
        try:
            found = read_server_certificate(one.certificate, one.key)
            certificates.append(CertificateFacts(one.setting, one.certificate.absolute(), found))
        except ConfigError as error:
            certificates.append(CertificateFacts(one.setting, one.certificate.absolute(), why=str(error)))
    secrets = []
    for path in (*(one.key for one in needs.certificates), *needs.tokens):
        try:
            secrets.append(SecretFileFacts(path.absolute(), stat.S_IMODE(os.stat(path).st_mode)))
        except OSError as error:
            secrets.append(SecretFileFacts(path.absolute(), why=why_not(path, error)))
    return tuple(certificates), tuple(secrets)


def judge_certificates(
    certificates: tuple[CertificateFacts, ...], secrets: tuple[SecretFileFacts, ...]
) -> Iterator[HostFinding]:
    """Judge them."""
    for one in certificates:
        subject, renew = f"certificate of {one.setting}", f"have {one.path} issued again, then restart the process"
        if one.certificate is None:
            yield fault(subject, one.why, "nobody can connect who checks it, or the process does not start", renew)
        elif one.certificate.days_left < SOON_DAYS:
            yield warning(subject, str(one.certificate), "from then on nobody connects who checks it", renew)
        else:
            yield fine(subject, str(one.certificate))
    for secret in secrets:
        subject, found = f"secret {secret.path.name}", f"{secret.path}: mode {secret.mode:04o}"
        if secret.why:
            yield fault(
                subject,
                f"{secret.path}: {secret.why}",
                "the process does not start",
                f"make it, or let its user read it: ls -l {secret.path}",
            )
        elif secret.mode & 0o077:
            yield warning(subject, found, "whoever reads it can pass for this process", f"sudo chmod 600 {secret.path}")
        else:
            yield fine(subject, found)
