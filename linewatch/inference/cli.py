"""`linewatch engines` and `build`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from linewatch.config.load import settings_or_defaults
from linewatch.contracts.errors import EngineError
from linewatch.terminal import AsJson, print_pairs

if TYPE_CHECKING:
    from linewatch.inference.backends.tensorrt.plans import Plan
    from linewatch.inference.engines import EngineReport


def engines(
    *,
    folder: Annotated[Path, Parameter(name="--dir")] = Path("engines"),
    backend: Annotated[str, Parameter(help="Backend that is to run them.")] = "onnxruntime",
    as_json: AsJson = False,
) -> int:
    from linewatch.inference.backends.registry import open_backend
    from linewatch.inference.engines import verify_all

    reports = verify_all(folder, open_backend(backend))
    if as_json:
        rows = [
            {
                "name": report.name,
                "manifest": report.manifest.model_dump(mode="json") if report.manifest else None,
                "model_bytes": report.model_bytes,
                "fault": report.fault,
            }
            for report in reports
        ]
        print(json.dumps(rows))
    else:
        _print_engines(reports)
    return EngineError.exit_code if any(report.fault for report in reports) else 0


def build(
    engine: str,
    /,
    *,
    backend: Annotated[Literal["tensorrt"], Parameter(help="Other backends build nothing ahead.")] = "tensorrt",
    precision: Annotated[Literal["fp32", "fp16", "int8"] | None, Parameter(help="Default: as configured.")] = None,
    config: Annotated[Path | None, Parameter(help="Its [inference] gives ladder, precision and folders.")] = None,
    engines: Annotated[Path | None, Parameter(help="Folder instead of [inference] engines_dir.")] = None,
    plans: Annotated[Path | None, Parameter(help="Folder instead of [inference] plan_dir.")] = None,
    as_json: AsJson = False,
) -> None:
    from linewatch.inference.backends.tensorrt.ahead import build_ahead
    from linewatch.inference.backends.tensorrt.progress import build_progress

    settings = settings_or_defaults(config).inference
    folders = {"engines_dir": engines, "plan_dir": plans}
    settings = settings.model_copy(update={name: folder for name, folder in folders.items() if folder is not None})
    with build_progress() as watch:
        plan = build_ahead(engine, settings, precision, watch)
    if as_json:
        facts = {"path": str(plan.path), "bytes": len(plan.data), "was_ready": plan.was_ready}
        print(json.dumps({**facts, **plan.record.model_dump(mode="json")}))
    else:
        print_pairs(f"plan of {plan.record.key.engine}", _plan_rows(plan))


def _print_engines(reports: "Sequence[EngineReport]") -> None:
    """Print every engine of a folder, and whether it can be trusted."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="engines", title_justify="left")
    for column in ("name", "task", "input", "precision", "MB", "threshold", "verified"):
        table.add_column(column)
    for report in reports:
        manifest = report.manifest
        if manifest is None:
            table.add_row(report.name, *["?"] * 5, report.fault or "")
            continue
        table.add_row(
            report.name,
            manifest.task,
            f"{manifest.input.lines} x {manifest.input.width}",
            manifest.precision,
            f"{report.model_bytes / 1e6:.1f}",
            ", ".join(f"{name} {value:.2f}" for name, value in list(manifest.thresholds.items())[:3])
            + (" ..." if len(manifest.thresholds) > 3 else ""),
            report.fault or f"sha256 {manifest.model.sha256[:12]}",
        )
    Console().print(table)


def _plan_rows(plan: "Plan") -> list[tuple[str, str]]:
    """A TensorRT plan: its file, its GPU, and the precision in which its layers compute."""
    key, precisions = plan.record.key, plan.record.precisions
    gpu = f"{key.gpu}, compute capability {key.compute_capability}, driver {key.driver}"
    return [
        ("path", str(plan.path)),
        ("size", f"{len(plan.data) / 1e6:.1f} MB"),
        ("built", f"in {plan.record.built_in_s:.1f} s" + (", before; it is up to date" if plan.was_ready else "")),
        ("precision", f"{key.precision}, {key.rows} rows a run"),
        ("convolutions, products", _counted(precisions.products)),
        ("other layers", _counted(precisions.others)),
        ("TensorRT", f"{key.library} {key.library_version}"),
        ("GPU", gpu if key.gpu else "none: this shows that it builds; a GPU host builds its own when it starts"),
    ]


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"
