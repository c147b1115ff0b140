"""`linewatch opcua-trust` and `linewatch opcua-password`: who may connect to an OPC UA bridge."""

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from linewatch.config.load import load
from linewatch.config.text import why_not
from linewatch.contracts.errors import ConfigError
from linewatch.plant.opcua.settings import OpcuaSettings
from linewatch.terminal import extra, wide_console

if TYPE_CHECKING:
    from linewatch.plant.opcua.certificates import KnownCertificate, TrustList

SHORTEST_PASSWORD = 8


def opcua_trust(
    config: Annotated[Path, Parameter(help="Configuration of the OPC UA bridge, for its pki_dir.")],
    client: Annotated[
        str | None,
        Parameter(
            help="A client's certificate (.der, .pem), or the fingerprint of one that was refused, or its begin."
        ),
    ] = None,
    /,
    *,
    remove: Annotated[bool, Parameter(negative=(), help="Take the client out of the list.")] = False,
) -> None:
    settings = load(config, OpcuaSettings)
    with extra("plant"):
        from linewatch.plant.opcua.certificates import TrustList, common_name

        trust = TrustList(settings.pki_dir)
    if client is None:
        _print(trust)
    elif remove:
        for known in _one_of(trust.trusted(), client, "the trust list"):
            known.path.unlink(missing_ok=True)
            print(f"no longer trusted: {common_name(known.certificate)}; its open connection stays until it closes")
    else:
        certificate = _certificate(client, trust)
        print(f"trusted: {common_name(certificate)}, in {trust.trust(certificate)}")


def opcua_password() -> None:
    with extra("plant"):
        from argon2 import PasswordHasher

    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if len(password) < SHORTEST_PASSWORD:
        raise ConfigError(f"the password has {len(password)} characters, expected at least {SHORTEST_PASSWORD}")
    if sys.stdin.isatty() and getpass.getpass("Again: ") != password:
        raise ConfigError("the two passwords differ; type the same one twice")
    print(f'password_hash = "{PasswordHasher().hash(password)}"')


def _certificate(client: str, trust: "TrustList"):  # type: ignore[no-untyped-def]  # x509.Certificate, of an extra
    from linewatch.plant.opcua.certificates import read_certificate

    path = Path(client)
    if not path.exists() and path.suffix == "":
        return _one_of(trust.rejected(), client, "the refused clients")[0].certificate
    try:
        return read_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        why = why_not(path, error) if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{path}: is no certificate ({why}); expected a .der or .pem file of the client") from error


def _one_of(known: "list[KnownCertificate]", begin: str, where: str) -> "list[KnownCertificate]":
    """Return the one certificate whose fingerprint begins so. Raises ConfigError for none or several."""
    found = [one for one in known if one.sha256.startswith(begin.replace(":", "").lower())]
    if len(found) != 1:
        raise ConfigError(
            f"{begin}: {len(found)} certificates in {where} begin so, expected one; "
            "`linewatch opcua-trust CONFIG` lists them"
        )
    return found


def _print(trust: "TrustList") -> None:
    from rich.table import Table

    from linewatch.plant.opcua.certificates import application_uri, common_name

    table = Table("", "name", "application URI", "valid until", "SHA-256", box=None, pad_edge=False)
    rows = [("trusted", one) for one in trust.trusted()] + [("refused", one) for one in trust.rejected()]
    for state, one in rows:
        certificate = one.certificate
        until = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
        table.add_row(state, common_name(certificate), application_uri(certificate), until, one.sha256)
    if rows:
        wide_console().print(table)
    else:
        print("no client is trusted, and none was refused")
