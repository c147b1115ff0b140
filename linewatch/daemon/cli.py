"""`linewatch run`, `replay`, `record`, `simulate` and `build`."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from linewatch.contracts.errors import ConfigError
from linewatch.logs import configure_logs
from linewatch.service_settings import load_settings, settings_or_defaults, with_source
from linewatch.terminal import AsJson, print_pairs

if TYPE_CHECKING:
    from linewatch.inference.backends.tensorrt.plans import Plan


def run(config: Annotated[Path, Parameter(help="Configuration of a service.")], /) -> None:
    from linewatch.daemon.run import run

    settings = load_settings(config)
    configure_logs(settings.log.level)
    run(settings, lambda: load_settings(config))


def replay(
    source: Annotated[
        str,
        Parameter(
            help='A video, a folder of frames, a TIFF of many pages, or "simulator" for the simulator of the '
            "configuration."
        ),
    ],
    /,
    *,
    config: Annotated[Path | None, Parameter(help="Default: built-in settings.")] = None,
    pace: Annotated[
        Literal["max", "line-rate"], Parameter(help="max: as fast as possible; line-rate: as recorded.")
    ] = "max",
    fault: Annotated[
        str | None, Parameter(help="Inject faults: NAME=COUNT, separated by commas, for example drop=3,truncate=2.")
    ] = None,
    out: Annotated[Path | None, Parameter(help="Write the verdicts to this JSON Lines file.")] = None,
    coil_data: Annotated[
        Path | None,
        Parameter(
            help="Data of the coils: the .json or .toml of a coil, a folder of them, or what an earlier run knew "
            "(coils-*.jsonl of its journal, or a verdict file)."
        ),
    ] = None,
    calibration: Annotated[
        str | None,
        Parameter(
            help='Calibration file of the camera to apply, or "none". Default: the one that a recording was made with; '
            "for other sources, as configured."
        ),
    ] = None,
    workers: Annotated[int | None, Parameter(help="Engine workers. Default: as configured.")] = None,
    hold_s: Annotated[float, Parameter(help="Keep answering consumers for this long after the end.")] = 0.0,
    as_json: AsJson = False,
) -> None:
    from linewatch.config.wire import ANY_PORT, WireSettings
    from linewatch.daemon.replay import replay
    from linewatch.daemon.summary import summary_rows

    settings = with_source(settings_or_defaults(config), source, own_line=config is None)
    if "wire" not in settings.model_fields_set:  # nobody expects a replay at the default ports, which a live line has
        settings = settings.model_copy(update={"wire": WireSettings(publish=ANY_PORT, serve=ANY_PORT)})
    if workers is not None:
        if not 1 <= workers <= 64:
            raise ConfigError(f"--workers is {workers}, expected 1 to 64")
        inference = settings.inference.model_copy(update={"workers": workers})
        settings = settings.model_copy(update={"inference": inference})
    configure_logs("warning" if sys.stderr.isatty() else settings.log.level)
    summary = replay(
        settings, pace=pace, fault=fault, out=out, hold_s=hold_s, coil_data=coil_data, calibration=calibration
    )
    if as_json:
        print(json.dumps(asdict(summary)))
    else:
        print_pairs("replay", summary_rows(summary))


def record(
    config: Annotated[Path, Parameter(help="Its [source] is recorded.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="The recording: an .avi file, with a sidecar beside it.")],
    max_mb: Annotated[float, Parameter(help="Stop before the recording exceeds this size.")] = 4096.0,
    max_s: Annotated[float | None, Parameter(help="Stop after this long.")] = None,
    as_json: AsJson = False,
) -> None:
    from linewatch.daemon.record import record_source

    summary = record_source(load_settings(config), out, max_mb=max_mb, max_s=max_s)
    if as_json:
        print(json.dumps({**asdict(summary), "path": str(summary.path)}))
    else:
        print(
            f"{summary.path}: {summary.grabs} grabs, {summary.metres:.1f} m in {summary.lines} lines, "
            f"{summary.size_mb:.1f} MB, read back, ended by its {summary.ended}"
        )


def simulate(
    *,
    out: Annotated[Path, Parameter(help="The recording: an .avi file, with a sidecar beside it.")],
    truth: Annotated[Path, Parameter(help="The JSON file of the rendered defects.")],
    length_m: Annotated[float, Parameter(help="Length of the coil.")] = 100.0,
    seed: Annotated[int, Parameter(help="Seed of the rendered strip.")] = 7,
    defects_per_m: Annotated[float, Parameter(help="Mean number of defects.")] = 1.0,
    roll_mark: Annotated[
        tuple[str, ...],
        Parameter(
            help="Let a damaged roll print one mark at every turn: pitch_mm=1900,across_mm=400,missed=0.1,... "
            "May be repeated."
        ),
    ] = (),
    config: Annotated[
        Path | None, Parameter(help="Configuration that gives [line], and the turns and welds of a simulator.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    from linewatch.daemon.simulate import render, simulator_source

    settings = settings_or_defaults(config)
    source = simulator_source(seed, length_m, defects_per_m, roll_mark, like=settings.source)
    rendered = render(source, settings.line, out, truth)
    if as_json:
        print(rendered.model_dump_json())
    else:
        print(f"{out}: {rendered.length_mm / 1000:.1f} m with {len(rendered.defects)} defects; truth in {truth}")


def build(
    engine: Annotated[str, Parameter(help="Its folder under [inference] engines_dir.")],
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
