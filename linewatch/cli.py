"""The commands. Each one's work lives in its own room; here is only what the user types.

Exit codes: 0 done; 2 bad configuration or arguments; 3 source; 4 engine; 5 wire; 6 journal; 7 a stage failed or hangs;
9 `compare` found more differences than its limits allow.
A user's mistake is a line on stderr, never a traceback.
"""

import argparse
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from linewatch import __version__
from linewatch.config.load import load_settings
from linewatch.config.service import ServiceSettings
from linewatch.config.taxonomy import Taxonomy
from linewatch.config.wire import WireSettings
from linewatch.contracts.errors import ConfigError, LinewatchError, StageError
from linewatch.daemon.logs import configure_logs

ANY_PORT = "tcp://127.0.0.1:*"
BEYOND_LIMITS = 9  # exit code of `compare`
_WIDE = 150  # columns of a table that goes to a file
Work = Callable[[argparse.Namespace], int | None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.work(options) or 0)
    except LinewatchError as error:
        print(f"linewatch: {error}", file=sys.stderr, flush=True)
        if isinstance(error, StageError) and threading.active_count() > 1:
            os._exit(error.exit_code)  # a hung stage's thread would hold up the interpreter's exit
        return error.exit_code
    except BrokenPipeError:  # `linewatch ... | head`
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:  # noqa: PLR0915 - a list of commands
    parser = argparse.ArgumentParser(prog="linewatch", description="Real-time surface inspection of steel strip.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, work: Work, about: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about)
        sub.set_defaults(work=work)
        return sub

    run = command("run", _run, "Inspect what the configured source gives, until it ends or SIGTERM comes.")
    run.add_argument("config", type=Path)

    replay = command("replay", _replay, "Inspect a recording with the same program; loses nothing, at any pace.")
    replay.add_argument("source", help="a video, a folder of frames, or 'simulator' (the configuration's)")
    replay.add_argument("--config", type=Path)
    replay.add_argument("--pace", choices=("max", "line-rate"), default="max")
    replay.add_argument("--fault", metavar="SPEC", help="make faults, for example drop=3,truncate=2,black=1")
    replay.add_argument("--out", type=Path, metavar="verdicts.jsonl")
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

    watch = command("watch", _watch, "Show a running service's defects, alarms and health in the terminal.")
    watch.add_argument("endpoint", nargs="?", default="tcp://127.0.0.1:5570", help="its wire.publish")
    watch.add_argument("--serve", help="its wire.serve; default: the port above")
    watch.add_argument("--json", action="store_true", help="one message per line instead of a table")
    watch.add_argument("--for-s", type=float, help="end after this long")

    simulate = command("simulate", _simulate, "Render a strip with known defects to a recording, and write the truth.")
    simulate.add_argument("--out", type=Path, required=True, metavar="FILE.avi")
    simulate.add_argument("--truth", type=Path, required=True, metavar="FILE.json")
    simulate.add_argument("--length-m", type=float, default=100.0)
    simulate.add_argument("--seed", type=int, default=7)
    simulate.add_argument("--defects-per-m", type=float, default=1.0)
    simulate.add_argument("--config", type=Path, help="its [line] gives width, pitch and line rate")
    simulate.add_argument("--json", action="store_true")

    check = command("check", _check, "Check a configuration without starting anything.")
    check.add_argument("config", type=Path)
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

    engine = command("engine", _engine, "Load an engine beside those of a running service; then promote or drop it.")
    engine.add_argument("action", choices=("load", "promote", "drop", "show"))
    engine.add_argument("name", nargs="?", default="", help="to load: a folder under its inference.engines_dir")
    engine.add_argument("--shadow", action="store_true", help="compare it with the running engine of its task")
    engine.add_argument("--commands", default="tcp://127.0.0.1:5572", metavar="ENDPOINT", help="its wire.commands")
    engine.add_argument("--json", action="store_true")

    picture = command("picture", _picture, "Draw a coil with its found defects.")
    picture.add_argument("verdicts", type=Path, help="what `linewatch replay --out` wrote")
    picture.add_argument("--source", required=True, help="the recording or folder that was replayed")
    picture.add_argument("--truth", type=Path)
    picture.add_argument("--config", type=Path)
    picture.add_argument("--out", type=Path, required=True, metavar="FILE.png")

    schema = command("schema", _schema, "Print the JSON Schema of every message on the wire.")
    schema.add_argument("--out", type=Path)

    train = command("train", _train, "Train a network by a recipe: a paper's protocol or the house's.")
    train.add_argument("recipe", help="one of `linewatch networks`, or screen, classify, segment")
    train.add_argument("--data", action="append", default=[], metavar="NAME=DIR", help="a set, or a folder of sets")
    train.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of the recipe")
    train.add_argument("--weights", metavar="imagenet|FILE", help="start from these instead of random weights")
    train.add_argument("--run", type=Path, metavar="DIR", help="run folder; default: runs/RECIPE-SET")
    train.add_argument("--kfold", type=int, metavar="N", help="N networks, each judged on the fold it has not seen")
    train.add_argument("--resume", action="store_true", help="go on with the run folder")
    train.add_argument("--out", type=Path, metavar="DIR", help="screen, classify, segment: engine folder to write")
    train.add_argument("--json", action="store_true", help="print the judgement as JSON")

    evaluate = command("evaluate", _evaluate, "Judge an engine or a checkpoint on labelled pictures.")
    evaluate.add_argument("target", metavar="CHECKPOINT|ENGINE")
    evaluate.add_argument("--data", action="append", default=[], metavar="NAME=DIR", help="a set, or a folder of sets")
    evaluate.add_argument(
        "--kfold", type=int, metavar="N", help="train the checkpoint's recipe N times on the set instead"
    )
    evaluate.add_argument("--run", type=Path, metavar="DIR", help="run folder of --kfold")
    evaluate.add_argument("--weights", metavar="imagenet|FILE", help="what the networks of --kfold start from")
    evaluate.add_argument("--all", action="store_true", help="judge on pictures that it was trained on, too")
    evaluate.add_argument("--engines", type=Path, default=Path("engines"), metavar="DIR")
    evaluate.add_argument("--backend", default="onnxruntime")
    evaluate.add_argument("--json", action="store_true")

    export = command("export", _export, "Make an engine of a checkpoint: ONNX, manifest, card.")
    export.add_argument("checkpoint", type=Path)
    export.add_argument("--name", required=True)
    export.add_argument("--engines", type=Path, default=Path("engines"), metavar="DIR")

    quantize = command("quantize", _quantize, "Make the INT8 sibling of an FP32 engine, or say why it is not as good.")
    quantize.add_argument("engine", help="name of an FP32 engine")
    quantize.add_argument("--data", action="append", default=[], metavar="NAME=DIR", help="a set, or a folder of sets")
    quantize.add_argument("--name", metavar="NEW", help="of the sibling; default: ENGINE-int8")
    quantize.add_argument(
        "--bound", type=float, help="how far a figure may drop, by the upper end of its 95 %% interval"
    )
    quantize.add_argument(
        "--folds", type=Path, metavar="RUN", help="screen: judge over the folds of its training's run folder"
    )
    quantize.add_argument("--engines", type=Path, default=Path("engines"), metavar="DIR")
    quantize.add_argument("--calibration", type=Path, default=Path("calibration/int8"), metavar="DIR")

    explain = command("explain", _explain, "Draw where an engine or a checkpoint looks in a picture.")
    explain.add_argument("target", metavar="CHECKPOINT|ENGINE")
    explain.add_argument("image", type=Path)
    explain.add_argument("--out", type=Path, default=Path("out/explain.png"), metavar="FILE.png")
    explain.add_argument("--engines", type=Path, default=Path("engines"), metavar="DIR")

    compare = command(
        "compare",
        _compare,
        "Two verdict files of one recording: what B lost, found anew, calls or sizes otherwise than A. Or run folders "
        "of tlu_net, picture by picture. The first is the measure. Exit code 9: beyond a --fail limit.",
    )
    compare.add_argument("paths", type=Path, nargs="+", metavar="A B", help="verdict files, or two run folders or more")
    compare.add_argument("--out", type=Path, metavar="DIR", help="pictures; verdict files need --source for them")
    compare.add_argument("--source", help="the recording or folder that both were made of")
    compare.add_argument("--config", type=Path, help="its [line] is the source's, where no sidecar tells")
    compare.add_argument("--truth", type=Path, help="adds recall and precision of both")
    compare.add_argument("--tolerance-mm", type=float, help="outlines so near still are one defect; default: 5")
    compare.add_argument(
        "--size-tolerance", type=float, metavar="SHARE", help="areas that differ by more are told; default: 0.5"
    )
    for kind in ("lost", "new", "reclassified"):
        compare.add_argument(
            f"--fail-{kind}", type=float, metavar="SHARE", help=f"exit code 9 when more of A's defects are {kind}"
        )
    compare.add_argument("--json", action="store_true")

    networks = command("networks", _networks, "List the networks: size, operations, time a tile, whose they are.")
    networks.add_argument("--measure", action="store_true", help="time them all on this machine first; takes minutes")
    networks.add_argument("--json", action="store_true")

    demo = command(
        "demo", _demo, "Render a coil, inspect it at line rate with the shipped engines, show what was found."
    )
    demo.add_argument("--out", type=Path, default=Path("out/demo"))
    demo.add_argument("--length-m", type=float, default=100.0)
    demo.add_argument("--config", type=Path, default=Path("configs/simulator.toml"))
    demo.add_argument("--seed", type=int, default=7)
    return parser


def _settings(path: Path | None) -> ServiceSettings:
    return ServiceSettings() if path is None else load_settings(path)


def _run(options: argparse.Namespace) -> None:
    from linewatch.daemon.run import run

    settings = load_settings(options.config)
    configure_logs(settings.log.level)
    run(settings)


def _replay(options: argparse.Namespace) -> None:
    from linewatch.daemon.replay import replay
    from linewatch.daemon.sources import with_source
    from linewatch.tables import summary_table

    settings = with_source(_settings(options.config), options.source, own_line=options.config is None)
    if options.config is None:  # nobody waits at the usual ports
        settings = settings.model_copy(update={"wire": WireSettings(publish=ANY_PORT, serve=ANY_PORT)})
    if options.workers is not None:
        if not 1 <= options.workers <= 64:
            raise ConfigError(f"--workers is {options.workers}, expected 1 to 64")
        inference = settings.inference.model_copy(update={"workers": options.workers})
        settings = settings.model_copy(update={"inference": inference})
    configure_logs("warning" if sys.stderr.isatty() else settings.log.level)
    summary = replay(settings, pace=options.pace, fault=options.fault, out=options.out, hold_s=options.hold_s)
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


def _watch(options: argparse.Namespace) -> None:
    from linewatch.client.watch import watch

    watch(options.endpoint, options.serve, for_s=options.for_s, as_json=options.json)


def _simulate(options: argparse.Namespace) -> None:
    from linewatch.daemon.simulate import render, simulator_source

    settings = _settings(options.config)
    source = simulator_source(options.seed, options.length_m, options.defects_per_m)
    truth = render(source, settings.line, options.out, options.truth)
    if options.json:
        print(truth.model_dump_json())
    else:
        print(
            f"{options.out}: {truth.length_mm / 1000:.1f} m with {len(truth.defects)} defects; truth in {options.truth}"
        )


def _check(options: argparse.Namespace) -> None:
    settings = load_settings(options.config)
    if settings.taxonomy is not None:
        Taxonomy.read(settings.taxonomy)
    print(settings.model_dump_json(indent=1) if options.json else f"{options.config}: good")


def _engines(options: argparse.Namespace) -> int:
    from linewatch.inference.backends import open_backend
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
    from linewatch.inference.tensorrt.ahead import build_ahead
    from linewatch.inference.tensorrt.progress import build_progress
    from linewatch.tables import plan_table

    settings = _settings(options.config).inference
    folders = {"engines_dir": options.engines, "plan_dir": options.plans}
    settings = settings.model_copy(update={name: folder for name, folder in folders.items() if folder is not None})
    with build_progress() as watch:
        plan = build_ahead(options.engine, settings, options.precision, watch)
    if options.json:
        facts = {"path": str(plan.path), "bytes": len(plan.data), "was_ready": plan.was_ready}
        print(json.dumps({**facts, **plan.record.model_dump(mode="json")}))
    else:
        plan_table(plan)


def _engine(options: argparse.Namespace) -> None:
    from linewatch.client import Commander
    from linewatch.tables import lineup_table
    from linewatch.wire.schema import EngineAction

    action = EngineAction(options.action)
    if (action is EngineAction.LOAD) != bool(options.name):
        raise ConfigError(f"engine {action}: expected {'a' if action is EngineAction.LOAD else 'no'} name of an engine")
    with Commander(options.commands) as commander:
        reply = commander.engine(action, options.name, shadow=options.shadow)
    if options.json:
        print(reply.model_dump_json())
    else:
        lineup_table(reply.engines, reply.beside)


def _picture(options: argparse.Namespace) -> None:
    from linewatch.capture.clock import MonotonicClock
    from linewatch.daemon.sources import camera_for, with_source
    from linewatch.history.found import read_findings
    from linewatch.history.picture import draw_coil
    from linewatch.simulation.truth import CoilTruth

    settings = with_source(_settings(options.config), options.source, own_line=options.config is None)
    assert settings.source is not None
    truth = CoilTruth.read(options.truth) if options.truth else None
    boxes = [defect.box for defect in truth.defects] if truth else []
    camera = camera_for(settings.source, settings.line, MonotonicClock(), live=False)
    draw_coil(camera, settings.line, read_findings(options.verdicts), boxes, options.out)
    print(options.out)


def _schema(options: argparse.Namespace) -> None:
    from linewatch.wire.export import wire_schema

    if options.out is None:
        print(wire_schema(), end="")
    else:
        options.out.write_text(wire_schema())


def _train(options: argparse.Namespace) -> None:
    with _training():
        from linewatch.training.commands import train

        judgement = train(
            options.recipe,
            data=options.data,
            changes=options.set,
            weights=options.weights,
            run=options.run,
            folds=options.kfold,
            resume=options.resume,
            out=options.out,
        )
        if judgement is not None:
            _judged(judgement, options.json)


def _evaluate(options: argparse.Namespace) -> None:
    with _training():
        from linewatch.training.commands import evaluate

        judgements = evaluate(
            options.target,
            data=options.data,
            folds=options.kfold,
            weights=options.weights,
            run=options.run,
            everything=options.all,
            engines_dir=options.engines,
            backend=options.backend,
        )
        for judgement in judgements:
            _judged(judgement, options.json)


def _judged(judgement: Any, as_json: bool) -> None:
    from linewatch.training.judging.judgement import class_table, side_by_side

    if as_json:
        print(judgement.model_dump_json(exclude_none=True))
    else:
        Console().print(side_by_side(judgement))
        if judgement.per_class:
            Console().print(class_table(judgement))


def _export(options: argparse.Namespace) -> None:
    with _training():
        from linewatch.training.shipping import export_checkpoint

        manifest = export_checkpoint(options.checkpoint, options.name, options.engines)
        print(f"{options.engines / manifest.name}: {manifest.task} engine, checked against torch")


def _quantize(options: argparse.Namespace) -> None:
    with _training():
        from linewatch.training.siblings import quantize, siblings_table

        siblings = quantize(
            options.engine,
            data=options.data,
            new_name=options.name,
            bound=options.bound,
            engines_dir=options.engines,
            calibration_dir=options.calibration,
            folds=options.folds,
        )
        Console(width=None if sys.stdout.isatty() else _WIDE).print(siblings_table(siblings))


def _explain(options: argparse.Namespace) -> None:
    with _training():
        from linewatch.training.explain import explain

        options.out.parent.mkdir(parents=True, exist_ok=True)
        found = explain(options.target, options.image, options.out, options.engines)
        for name, score in list(found.scores.items())[:3]:
            print(f"{name} {score:.3f}")
        print(options.out)


_VERDICTS_ONLY = (
    *("source", "config", "truth", "tolerance_mm", "size_tolerance"),
    *("fail_lost", "fail_new", "fail_reclassified"),
)


def _compare(options: argparse.Namespace) -> int | None:
    """Verdict files are files, runs are folders."""
    for path in options.paths:
        if not path.exists():
            raise ConfigError(f"{path}: no such file or folder; compare two verdict files, or run folders")
    folders = [path for path in options.paths if path.is_dir()]
    if len(folders) == len(options.paths):
        _compare_runs(options)
        return None
    if folders:
        held = sorted(folders[0].glob("*.jsonl"))
        remedy = f"name the file in it, {held[0]}" if held else "compare two of a kind"
        raise ConfigError(f"{folders[0]} is a folder, the others are verdict files; {remedy}")
    return _compare_verdicts(options)


def _compare_runs(options: argparse.Namespace) -> None:
    if alien := [name for name in _VERDICTS_ONLY if getattr(options, name) is not None]:
        named = f"--{alien[0].replace('_', '-')}"
        raise ConfigError(f"{named} is for verdict files, {options.paths[0]} is a folder; leave it out, or name files")
    if options.out is None:
        raise ConfigError("runs are compared in pictures; give --out DIR for them")
    with _training():
        from linewatch.training.recipes.comparison import compare

        found = compare(options.paths, options.out)
        if options.json:
            print(json.dumps({name: asdict(of) for name, of in found.items()}))
            return
        for name, of in found.items():
            low, high = of.interval or (float("nan"), float("nan"))
            print(f"{name}: Dice {of.difference:+.3f} ({low:+.3f} to {high:+.3f}), better on {of.improved:.0%} of them")
        print(options.out)


def _compare_verdicts(options: argparse.Namespace) -> int:
    from linewatch.history.comparison import SIZE_TOLERANCE, Limits, as_json, compare, judge_both
    from linewatch.history.judge import TOLERANCE_MM
    from linewatch.history.strips import read_strips, same_verdicts
    from linewatch.simulation.truth import CoilTruth
    from linewatch.tables import comparison_table

    if len(options.paths) != 2:
        raise ConfigError(f"{len(options.paths)} verdict file(s), expected two: A, which is the measure, and B")
    if (options.out is None) != (options.source is None):
        raise ConfigError("pictures need --source, the recording, and --out, the folder that they go to; give both")
    tolerance_mm = _bounded(options, "tolerance_mm", TOLERANCE_MM, 100.0)
    size_tolerance = _bounded(options, "size_tolerance", SIZE_TOLERANCE, 100.0)
    limits = Limits(*(_bounded(options, f"fail_{kind}", None, 1.0) for kind in ("lost", "new", "reclassified")))
    one, other = options.paths
    identical = same_verdicts(one, other)
    if identical and not options.json:
        print("A and B are the same verdicts, byte for byte but for the timing", flush=True)
    a = read_strips(one)
    b = a if identical else read_strips(other)
    comparison = compare(a, b, tolerance_mm=tolerance_mm, size_tolerance=size_tolerance)
    judgements = judge_both(comparison, CoilTruth.read(options.truth)) if options.truth else None
    broken = limits.broken(comparison)
    pictures = _differences(options, comparison, a, b) if options.out else ()
    if options.json:
        facts = as_json(comparison, judgements)
        print(
            json.dumps(
                {"identical": identical, **facts, "beyond_limits": broken, "pictures": [str(path) for path in pictures]}
            )
        )
    else:
        comparison_table(comparison, judgements, (one, other))
        for path in pictures:
            print(path)
    for words in broken:
        print(f"linewatch: {words}", file=sys.stderr)
    return BEYOND_LIMITS if broken else 0


def _bounded(options: argparse.Namespace, name: str, default: Any, most: float) -> Any:
    value = getattr(options, name)
    if value is not None and not 0 <= value <= most:
        raise ConfigError(f"--{name.replace('_', '-')} is {value}, expected 0 to {most:g}")
    return default if value is None else value


def _differences(options: argparse.Namespace, comparison: Any, a: Any, b: Any) -> tuple[Path, ...]:
    from linewatch.capture.clock import MonotonicClock
    from linewatch.daemon.sources import camera_for, with_source
    from linewatch.history.differences import Verdicts, draw_differences

    settings = with_source(_settings(options.config), options.source, own_line=options.config is None)
    assert settings.source is not None
    camera = camera_for(settings.source, settings.line, MonotonicClock(), live=False)
    one, other = options.paths
    return draw_differences(comparison, Verdicts(one, a), Verdicts(other, b), camera, settings.line, options.out)


def _networks(options: argparse.Namespace) -> None:
    with _training():
        from linewatch.training import listing

        if options.measure:
            listing.MEASURED.write_text(listing.measure().model_dump_json(indent=1) + "\n")
        measured = listing.read_measured()
        listed = listing.rows(measured)
        if options.json:
            print(json.dumps([row.model_dump() for row in listed], indent=1))
        else:
            wide = None if sys.stdout.isatty() else _WIDE
            Console(width=wide).print(listing.table(listed, measured))


@contextmanager
def _training() -> Iterator[None]:
    """What needs the extra `train` says so where it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("linewatch"):
            raise
        raise ConfigError(f"needs {error.name}, which is not installed; pip install 'linewatch[train]'") from error


def _demo(options: argparse.Namespace) -> None:
    from linewatch.demo import demo
    from linewatch.tables import demo_table

    configure_logs("warning")
    settings = load_settings(options.config)
    summary, judgement = demo(options.out, options.length_m, options.seed, settings)
    demo_table(summary, judgement, options.out)


if __name__ == "__main__":
    sys.exit(main())
