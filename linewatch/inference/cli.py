"""`linewatch engines`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from linewatch.contracts.errors import EngineError
from linewatch.terminal import AsJson, plain_console

if TYPE_CHECKING:
    from linewatch.inference.engines import EngineReport


def engines(
    *,
    folder: Annotated[Path, Parameter(name=["--engines", "--dir"], help="Folder of engines.")] = Path("engines"),
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
