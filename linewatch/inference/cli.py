"""`linewatch engines`, and `linewatch engine new-key`, `sign` and `verify`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from linewatch.contracts.errors import ConfigError, EngineError
from linewatch.terminal import AsJson, plain_console

if TYPE_CHECKING:
    from linewatch.inference.engines import EngineReport

Folder = Annotated[Path, Parameter(name=["--engines", "--dir"], help="Folder of engines.")]
_FOLDER = Path("engines")


def engines(
    *,
    folder: Folder = _FOLDER,
    backend: Annotated[str, Parameter(help="Backend that is to run them.")] = "onnxruntime",
    add_reference: Annotated[
        tuple[str, ...],
        Parameter(
            help="First run this engine on drawn tiles and keep its answers beside it, to be compared with from then "
            "on. For an engine whose answers are known to be right."
        ),
    ] = (),
    as_json: AsJson = False,
) -> int:
    from linewatch.inference.backends.registry import open_backend
    from linewatch.inference.engines import add_reference_tiles, verify_all

    for name in add_reference:
        add_reference_tiles(folder, name)
    reports = verify_all(folder, open_backend(backend))
    if as_json:
        rows = [
            {
                "name": report.name,
                "manifest": report.manifest.model_dump(mode="json") if report.manifest else None,
                "model_bytes": report.model_bytes,
                "fault": report.fault,
                "reference_tiles": report.reference_tiles,
                "lacks": report.lacks,
            }
            for report in reports
        ]
        print(json.dumps(rows))
    else:
        _print_engines(reports)
    return EngineError.exit_code if any(report.fault for report in reports) else 0


def new_key(
    file: Annotated[Path, Parameter(help="File to write the secret key to.")],
    /,
    *,
    as_json: AsJson = False,
) -> None:
    from linewatch.inference.signatures import SigningKey

    signer = SigningKey.new(file).signer
    facts = {"secret_file": str(file), "signer": signer}
    print(json.dumps(facts) if as_json else f'{file}: for its owner alone\ntrusted_signers = ["{signer}"]')


def sign(
    *names: Annotated[str, Parameter(help="Engines, by the names of their folders.")],
    key: Annotated[Path, Parameter(help="Secret key of `linewatch engine new-key`.")],
    folder: Folder = _FOLDER,
    as_json: AsJson = False,
) -> None:
    from linewatch.contracts.signer import fingerprint
    from linewatch.inference.engines import find_engine
    from linewatch.inference.signatures import SigningKey

    if not names:
        raise ConfigError("engine sign: expected the names of engines, found none; `linewatch engines` lists them")
    secret = SigningKey.read(key)
    for name in names:
        find_engine(folder, name)  # what the service would refuse is not worth a signature
        signed = secret.sign(folder / name)
        facts = {"engine": name, "signer": signed.signer, "signed_at": signed.signed_at, "files": signed.files}
        told = f"{name}: {len(signed.files)} files signed by {fingerprint(signed.signer)}"
        print(json.dumps(facts) if as_json else told)


def verify_signed(
    *names: Annotated[str, Parameter(help="Engines, by the names of their folders.")],
    signer: Annotated[
        tuple[str, ...], Parameter(help="Public key that is trusted, ed25519:... Default: that of any signer.")
    ] = (),
    folder: Folder = _FOLDER,
    as_json: AsJson = False,
) -> int:
    from linewatch.contracts.signer import checked_signer, fingerprint
    from linewatch.inference.signatures import verify

    if not names:
        raise ConfigError("engine verify: expected the names of engines, found none; `linewatch engines` lists them")
    try:
        trusted = tuple(map(checked_signer, signer)) or None
    except ValueError as error:
        raise ConfigError(f"engine verify --signer: {error}") from None
    refused = False
    for name in names:
        facts: dict[str, object] = {"engine": name, "fault": None}
        try:
            found = verify(folder / name, trusted)
            facts |= {"signer": found.signer, "signed_at": found.signed_at, "files": found.files}
            told = f"{name}: {len(found.files)} files as {fingerprint(found.signer)} signed them at {found.signed_at}"
        except EngineError as error:
            refused, told = True, f"refused: {error}"
            facts["fault"] = str(error)
        print(json.dumps(facts) if as_json else told)
    return EngineError.exit_code if refused else 0


def _print_engines(reports: "Sequence[EngineReport]") -> None:
    """Print every engine of a folder, whether it can be trusted, and what could not be checked."""
    from rich.table import Table

    table = Table(title="engines", title_justify="left")
    for column in ("name", "task", "input", "precision", "MB", "threshold", "verified"):
        table.add_column(column)
    for report in reports:
        manifest = report.manifest
        if manifest is None:
            table.add_row(report.name, *["?"] * 5, "refused")
            continue
        table.add_row(
            report.name,
            manifest.task,
            f"{manifest.input.lines} x {manifest.input.width}",
            manifest.precision,
            f"{report.model_bytes / 1e6:.1f}",
            ", ".join(f"{name} {value:.2f}" for name, value in list(manifest.thresholds.items())[:3])
            + (" ..." if len(manifest.thresholds) > 3 else ""),
            "refused"
            if report.fault
            else f"sha256 {manifest.model.sha256[:12]}, {report.reference_tiles} reference tiles",
        )
    console = plain_console()
    console.print(table)
    for report in reports:
        if said := report.fault or report.lacks:
            word = "refused" if report.fault else "warning"
            console.print(f"{word}: {report.name}: {said}", highlight=False, soft_wrap=True)
