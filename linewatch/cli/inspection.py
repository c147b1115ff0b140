"""Commands that inspect, record and render strip, and check what that needs."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from linewatch.cli.arguments import adder, settings_of
from linewatch.config.base import Settings
from linewatch.config.grading_load import grading_from
from linewatch.config.load import read_toml
from linewatch.config.taxonomy import TAXONOMY, Taxonomy
from linewatch.config.wire import WireSettings
from linewatch.contracts.errors import ConfigError
from linewatch.daemon.logs import configure_logs
from linewatch.service_settings import ServiceSettings, gradings_for, is_grading, load_settings, settings_from

if TYPE_CHECKING:
    from linewatch.cli.arguments import Commands

ANY_PORT = "tcp://127.0.0.1:*"


def add(commands: "Commands") -> None:  # noqa: PLR0915 - a list of commands
    """The commands of this kind."""
    command = adder(commands)

    run = command("run", _run, "Inspect what the configured source gives, until it ends or SIGTERM comes.")
    run.add_argument("config", type=Path)

    replay = command("replay", _replay, "Inspect a recording with the same program; loses nothing, at any pace.")
    replay.add_argument("source", help="a video, a folder of frames, or 'simulator' (the configuration's)")
    replay.add_argument("--config", type=Path)
    replay.add_argument("--pace", choices=("max", "line-rate"), default="max")
    replay.add_argument("--fault", metavar="SPEC", help="make faults, for example drop=3,truncate=2,black=1")
    replay.add_argument("--out", type=Path, metavar="verdicts.jsonl")
    replay.add_argument(
        "--coil-data",
        type=Path,
        metavar="FILE",
        help="what is known of the coils: a coil's .json or .toml, a folder of them, or what an earlier run knew "
        "(its journal's coils-*.jsonl, a verdict file)",
    )
    replay.add_argument("--workers", type=int, help="engine workers; default: the configuration's")
    replay.add_argument("--hold-s", type=float, default=0.0, help="go on answering consumers this long after the end")
    replay.add_argument("--json", action="store_true", help="print the summary as JSON")

    record = command(
        "record", _record, "Write what a camera gives: lossless video and a sidecar that replay reads back."
    )
    record.add_argument("config", type=Path, help="its [source] is recorded")
    record.add_argument("--out", type=Path, required=True, metavar="FILE.avi")
    record.add_argument("--max-mb", type=float, default=4096.0, help="stop before the video is larger")
    record.add_argument("--max-s", type=float, help="stop after this long")
    record.add_argument("--json", action="store_true")

    simulate = command("simulate", _simulate, "Render a strip with known defects to a recording, and write the truth.")
    simulate.add_argument("--out", type=Path, required=True, metavar="FILE.avi")
    simulate.add_argument("--truth", type=Path, required=True, metavar="FILE.json")
    simulate.add_argument("--length-m", type=float, default=100.0)
    simulate.add_argument("--seed", type=int, default=7)
    simulate.add_argument("--defects-per-m", type=float, default=1.0)
    simulate.add_argument(
        "--roll-mark",
        action="append",
        default=[],
        metavar="pitch_mm=1900,across_mm=400,missed=0.1,...",
        help="let a damaged roll print one spot again and again; may be repeated",
    )
    simulate.add_argument("--config", type=Path, help="its [line] holds, and a simulator's turns and welds")
    simulate.add_argument("--json", action="store_true")

    check = command("check", _check, "Check a configuration or grading rules without starting anything.")
    check.add_argument("config", type=Path, help="of a service, or a file of grading rules")
    check.add_argument("--taxonomy", type=Path, default=TAXONOMY, metavar="FILE.toml", help="for grading rules")
    check.add_argument("--json", action="store_true", help="print it with all defaults")

    engines = command("engines", _engines, "List the engines and verify each against its manifest.")
    engines.add_argument("--dir", type=Path, default=Path("engines"))
    engines.add_argument("--backend", default="onnxruntime", help="that shall run them")
    engines.add_argument("--json", action="store_true")

    build = command("build", _build, "Build an engine's TensorRT plan ahead of the service's start.")
    build.add_argument("engine")
    build.add_argument("--backend", choices=("tensorrt",), default="tensorrt", help="others build nothing ahead")
    build.add_argument("--precision", choices=("fp32", "fp16", "int8"), help="default: the configuration's")
    build.add_argument("--config", type=Path, help="its [inference] gives ladder, precision and folders")
    build.add_argument("--engines", type=Path, metavar="DIR", help="instead of inference.engines_dir")
    build.add_argument("--plans", type=Path, metavar="DIR", help="instead of inference.plan_dir")
    build.add_argument("--json", action="store_true")

    schema = command("schema", _schema, "Print the JSON Schema of every message on the wire.")
    schema.add_argument("--out", type=Path)

    demo = command(
        "demo", _demo, "Render a coil, inspect it at line rate with the shipped engines, show what was found."
    )
    demo.add_argument("--out", type=Path, default=Path("out/demo"))
    demo.add_argument("--length-m", type=float, default=100.0)
    demo.add_argument("--config", type=Path, default=Path("configs/simulator.toml"))
    demo.add_argument("--seed", type=int, default=7)


def _run(options: argparse.Namespace) -> None:
    from linewatch.daemon.run import run

    settings = load_settings(options.config)
    configure_logs(settings.log.level)
    run(settings, lambda: load_settings(options.config))


def _replay(options: argparse.Namespace) -> None:
    from linewatch.daemon.replay import replay
    from linewatch.daemon.sources import with_source
    from linewatch.tables import summary_table

    settings = with_source(settings_of(options.config), options.source, own_line=options.config is None)
    if options.config is None:  # nobody waits at the usual ports
        settings = settings.model_copy(update={"wire": WireSettings(publish=ANY_PORT, serve=ANY_PORT)})
    if options.workers is not None:
        if not 1 <= options.workers <= 64:
            raise ConfigError(f"--workers is {options.workers}, expected 1 to 64")
        inference = settings.inference.model_copy(update={"workers": options.workers})
        settings = settings.model_copy(update={"inference": inference})
    configure_logs("warning" if sys.stderr.isatty() else settings.log.level)
    summary = replay(
        settings,
        pace=options.pace,
        fault=options.fault,
        out=options.out,
        hold_s=options.hold_s,
        coil_data=options.coil_data,
    )
    if options.json:
        print(json.dumps(asdict(summary)))
    else:
        summary_table(summary)


def _record(options: argparse.Namespace) -> None:
    from linewatch.daemon.record import record_source

    summary = record_source(load_settings(options.config), options.out, max_mb=options.max_mb, max_s=options.max_s)
    if options.json:
        print(json.dumps({**asdict(summary), "path": str(summary.path)}))
    else:
        print(
            f"{summary.path}: {summary.grabs} grabs, {summary.lines} lines, {summary.size_mb:.1f} MB, "
            f"ended by its {summary.ended}"
        )


def _simulate(options: argparse.Namespace) -> None:
    from linewatch.daemon.simulate import render, simulator_source

    settings = settings_of(options.config)
    source = simulator_source(
        options.seed, options.length_m, options.defects_per_m, options.roll_mark, like=settings.source
    )
    truth = render(source, settings.line, options.out, options.truth)
    if options.json:
        print(truth.model_dump_json())
    else:
        print(
            f"{options.out}: {truth.length_mm / 1000:.1f} m with {len(truth.defects)} defects; truth in {options.truth}"
        )


def _check(options: argparse.Namespace) -> None:
    from linewatch.wire.endpoints import load_keys

    settings: Settings
    if is_grading(tree := read_toml(options.config)):
        settings = grading_from(tree, str(options.config), Taxonomy.read(options.taxonomy))
    else:
        settings = settings_from(tree, str(options.config))
        gradings_for(settings, Taxonomy.read(settings.taxonomy) if settings.taxonomy is not None else None)
        load_keys(settings.wire)
    if options.json:
        print(settings.model_dump_json(indent=1))
        return
    print(f"{options.config}: good")
    for roll in settings.roll if isinstance(settings, ServiceSettings) else ():
        low, high = roll.pitch_mm
        print(f"  roll {roll.name}, stand {roll.stand}: marks every {low:.0f} to {high:.0f} mm")


def _engines(options: argparse.Namespace) -> int:
    from linewatch.inference.backends.registry import open_backend
    from linewatch.inference.engines import verify_all
    from linewatch.tables import engines_table

    reports = verify_all(options.dir, open_backend(options.backend))
    if options.json:
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
        engines_table(reports)
    return 4 if any(report.fault for report in reports) else 0


def _build(options: argparse.Namespace) -> None:
    from linewatch.inference.backends.tensorrt.ahead import build_ahead
    from linewatch.inference.backends.tensorrt.progress import build_progress
    from linewatch.tables import plan_table

    settings = settings_of(options.config).inference
    folders = {"engines_dir": options.engines, "plan_dir": options.plans}
    settings = settings.model_copy(update={name: folder for name, folder in folders.items() if folder is not None})
    with build_progress() as watch:
        plan = build_ahead(options.engine, settings, options.precision, watch)
    if options.json:
        facts = {"path": str(plan.path), "bytes": len(plan.data), "was_ready": plan.was_ready}
        print(json.dumps({**facts, **plan.record.model_dump(mode="json")}))
    else:
        plan_table(plan)


def _schema(options: argparse.Namespace) -> None:
    from linewatch.wire.json_schema import wire_schema

    if options.out is None:
        print(wire_schema(), end="")
    else:
        options.out.write_text(wire_schema())


def _demo(options: argparse.Namespace) -> None:
    from linewatch.demo import demo
    from linewatch.tables import demo_table

    configure_logs("warning")
    settings = load_settings(options.config)
    summary, judgement = demo(options.out, options.length_m, options.seed, settings)
    demo_table(summary, judgement, options.out)
