"""The commands. Each one's work lives in its own room; here is only what the user types.

Exit codes: 0 done; 2 bad configuration or arguments; 3 source; 4 engine; 5 wire; 6 journal; 7 a stage failed or hangs;
8 history, 9 `compare` found more differences than its limits allow.
A user's mistake is a line on stderr, never a traceback.
"""

import argparse
import getpass
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from linewatch import __version__
from linewatch.config.base import Settings
from linewatch.config.grading_load import grading_from, gradings_for, is_grading
from linewatch.config.history import DATABASE_URL, DATABASE_URLS, HistorySettings
from linewatch.config.load import load, load_settings, read_toml, settings_from, validated
from linewatch.config.modbus import ModbusSettings
from linewatch.config.service import ServiceSettings
from linewatch.config.taxonomy import TAXONOMY, Taxonomy
from linewatch.config.wire import WireSettings
from linewatch.contracts.access import Role
from linewatch.contracts.errors import ConfigError, LinewatchError, StageError, WireError
from linewatch.daemon.logs import configure_logs
from linewatch.wire.schema import CoilDataBody

if TYPE_CHECKING:
    from linewatch.client import ClientKeys

ANY_PORT = "tcp://127.0.0.1:*"
BEYOND_LIMITS = 9  # exit code of `compare`
_WIDE = 150  # columns of a table that goes to a file
_COIL_FACTS = tuple(name for name in CoilDataBody.model_fields if name != "coil")
_WHERE = "a verdict file, or history:COIL or history:#PASSAGE"
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

    watch = command("watch", _watch, "Show a running service's defects, alarms and health in the terminal.")
    watch.add_argument("endpoint", nargs="?", default="tcp://127.0.0.1:5570", help="its wire.publish")
    watch.add_argument("--serve", help="its wire.serve; default: the port above")
    watch.add_argument("--json", action="store_true", help="one message per line instead of a table")
    watch.add_argument("--for-s", type=float, help="end after this long")
    _keyed(watch)

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

    engine = command("engine", _engine, "Load an engine beside those of a running service; then promote or drop it.")
    engine.add_argument("action", choices=("load", "promote", "drop", "show"))
    engine.add_argument("name", nargs="?", default="", help="to load: a folder under its inference.engines_dir")
    engine.add_argument("--shadow", action="store_true", help="compare it with the running engine of its task")
    engine.add_argument("--commands", default="tcp://127.0.0.1:5572", metavar="ENDPOINT", help="its wire.commands")
    engine.add_argument("--json", action="store_true")
    _keyed(engine)

    alarms = command("alarms", _alarms, "List the alarms of a running service: those that stand, and what is shelved.")
    alarms.add_argument("--serve", default="tcp://127.0.0.1:5571", metavar="ENDPOINT", help="its wire.serve")
    alarms.add_argument("--json", action="store_true")
    _keyed(alarms)

    def alarm_command(name: str, work: Work, about: str, **options: Any) -> argparse.ArgumentParser:
        sub = command(name, work, about)
        sub.add_argument("alarm", metavar="ID", help="an alarm's id, or its rule's name", **options)
        sub.add_argument("--commands", default="tcp://127.0.0.1:5572", metavar="ENDPOINT", help="its wire.commands")
        sub.add_argument("--by", metavar="NAME", help="who asks, for the record; default: this user and host")
        sub.add_argument(
            "--token", help="to send a command again that nobody answered: it is carried out once, however often sent"
        )
        sub.add_argument("--json", action="store_true")
        return _keyed(sub)

    ack = alarm_command("ack", _ack, "Acknowledge an alarm of a running service, or all.", nargs="?")
    ack.add_argument("--all", action="store_true", help="all that stand")
    shelve = alarm_command("shelve", _shelve, "Keep a rule's alarms from asking for an operator, for a while.")
    shelve.add_argument("--minutes", type=float, help="for how long; default: until the alarm is over")
    alarm_command("unshelve", _unshelve, "Let a rule's alarms ask for an operator again.")

    keys = command("keys", _keys, "Make keys, and say who may do what: new, allow, list, revoke.")
    key_commands = keys.add_subparsers(dest="action", required=True, metavar="ACTION")

    def key_command(action: str, about: str) -> argparse.ArgumentParser:
        sub = key_commands.add_parser(action, help=about, description=about)
        sub.add_argument(
            "--dir", type=Path, default=Path("keys"), help="folder of keys; its clients/ is [wire.keys] clients_dir"
        )
        sub.add_argument("--json", action="store_true")
        return sub

    new = key_command("new", "Make a key pair; with a role it is allowed at once. 'server': the service's own.")
    new.add_argument("name")
    new.add_argument("--role", choices=tuple(Role))
    allow = key_command("allow", "Let the key of a public certificate in; or change the role of one that is.")
    allow.add_argument("file", type=Path, help="the client's NAME.key")
    allow.add_argument("--role", choices=tuple(Role), required=True)
    allow.add_argument("--name", help="to go by in the list; default: the file's")
    key_command("list", "List the keys that may connect, and their roles.")
    revoke = key_command("revoke", "Take a key's permission away, on connections that are open, too.")
    revoke.add_argument("name")
    coil = command("coil", _coil, "Tell a running service of coils: one starts or ends, or what the mill knows of it.")
    coil.add_argument("action", choices=("start", "end", "data", "show"))
    coil.add_argument("coil", nargs="?", metavar="ID")
    coil.add_argument("--at-mm", type=float, help="start, end: along the coil under the camera; default: now")
    coil.add_argument("--file", type=Path, metavar="FILE.json|FILE.toml", help="data: of a file in place of options")
    for name in _COIL_FACTS:
        number = name.endswith("_mm")
        coil.add_argument(f"--{name.replace('_', '-')}", type=float if number else str, help="data")
    coil.add_argument("--commands", default="tcp://127.0.0.1:5572", metavar="ENDPOINT", help="its wire.commands")
    coil.add_argument("--by", metavar="NAME", help="who asks, for the record; default: this user and host")
    coil.add_argument("--token", help="to send a command again that nobody answered: it is taken up once")
    coil.add_argument("--json", action="store_true")
    _keyed(coil)

    reload = command("reload", _reload, "Have a running service read its rules again from its files.")
    reload.add_argument("what", choices=("rules",), help="grading rules, sensitivity, recipes")
    reload.add_argument("--commands", default="tcp://127.0.0.1:5572", metavar="ENDPOINT", help="its wire.commands")
    reload.add_argument("--by", metavar="NAME", help="who asks, for the record; default: this user and host")
    reload.add_argument("--json", action="store_true")
    _keyed(reload)

    bridge = command("bridge", _bridge, "Show a running service to a plant's controllers, in a process of its own.")
    bridge.add_argument("protocol", choices=("modbus",))
    bridge.add_argument("config", type=Path, nargs="?")
    bridge.add_argument("--check", action="store_true", help="check the configuration and end")
    bridge.add_argument("--map", type=Path, metavar="FILE.csv", help="write the map of registers and end; - prints it")

    picture = _stored(command("picture", _picture, "Draw a coil with its found defects."))
    picture.add_argument("verdicts", help=_WHERE)
    picture.add_argument("--source", required=True, help="the recording or folder that was replayed")
    picture.add_argument("--truth", type=Path)
    picture.add_argument("--config", type=Path)
    picture.add_argument("--coil", metavar="ID", help="where a verdict file holds several")
    picture.add_argument(
        "--from", dest="end", choices=("head", "tail"), default="head", help="which end of the coil is at 0"
    )
    picture.add_argument("--out", type=Path, required=True, metavar="FILE.png")

    regrade = _stored(command("regrade", _regrade, "Grade stored coils again by other rules, without pixels."))
    regrade.add_argument("verdicts", nargs="?", help=f"{_WHERE}; none: the history's --coil or --passage")
    regrade.add_argument("--coil", metavar="ID", help="of a verdict file: this one only")
    regrade.add_argument("--passage", type=int, metavar="NUMBER", help="as `linewatch coils` numbers them")
    regrade.add_argument("--rules", type=Path, required=True, metavar="FILE.toml")
    regrade.add_argument("--taxonomy", type=Path, default=TAXONOMY, metavar="FILE.toml")
    regrade.add_argument("--json", action="store_true", help="a coil a line")
    history = command("history", _history, "Store what running services say in a database, until SIGTERM comes.")
    history.add_argument("config", type=Path)

    coils = _queried(command("coils", _coils, "List the coils of the history, the newest first."))
    coils.add_argument("--coil", metavar="ID", help="only this one")
    coils.add_argument("--limit", type=int, default=100)
    coils.add_argument("--after", type=int, metavar="PASSAGE", help="the page behind this one")

    defects = _queried(command("defects", _defects, "List the defects of a coil in the history, along it."))
    which = defects.add_mutually_exclusive_group(required=True)
    which.add_argument("--coil", metavar="ID", help="its newest passage under each camera")
    which.add_argument("--passage", type=int, metavar="NUMBER", help="one passage, as `linewatch coils` numbers them")
    defects.add_argument("--class", dest="defect_class", metavar="CLASS")
    defects.add_argument("--limit", type=int, default=100)
    defects.add_argument("--after", type=int, metavar="DEFECT", help="the page behind this one")
    defects.add_argument(
        "--images", action="store_true", help="the file of each one's picture, where [images] kept one"
    )

    label = _queried(command("label", _label, "Say that a defect of the history is of another class, or none."))
    label.add_argument("defect", help="its number, or its id on the wire")
    label.add_argument("verdict", choices=("wrong-class", "not-a-defect"))
    label.add_argument("--class", dest="right_class", metavar="CLASS", help="the right one")
    label.add_argument("--who", help="says so; default: the user of this shell")

    labels = _queried(command("labels", _labels, "Write what people said of defects to a file, for retraining."))
    labels.add_argument("action", choices=("export",))
    labels.add_argument("--out", type=Path, required=True, metavar="FILE.csv|FILE.jsonl")
    report = _stored(command("report", _report, "Write a coil's report: a page that prints well, a PDF, tables."))
    report.add_argument("coil", nargs="?", metavar="COIL", help="of the history, or where --verdicts holds several")
    report.add_argument("--passage", type=int, metavar="NUMBER", help="as `linewatch coils` numbers them")
    report.add_argument("--verdicts", type=Path, metavar="FILE", help="what `replay --out` wrote, not the history")
    report.add_argument("--source", help="the recording or folder that was replayed: pictures are cut from it")
    report.add_argument("--config", type=Path, help="its taxonomy rates the classes, its [line] reads the source")
    report.add_argument("--html", type=Path, metavar="FILE")
    report.add_argument("--pdf", type=Path, metavar="FILE", help="printed by the installed Chromium, Chrome or Edge")
    report.add_argument("--csv", type=Path, metavar="DIR", help="defects.csv, spans.csv, alarms.csv")

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

    compare = _stored(
        command(
            "compare",
            _compare,
            "Two records of one recording: what B lost, found anew, calls or sizes otherwise than A. Or run folders "
            "of tlu_net, picture by picture. The first is the measure. Exit code 9: beyond a --fail limit.",
        )
    )
    compare.add_argument("paths", nargs="+", metavar="A B", help=f"{_WHERE}; or two run folders or more")
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


def _keyed(sub: argparse.ArgumentParser) -> argparse.ArgumentParser:
    for option, variable, about in (
        ("--key", "LINEWATCH_KEY", "this client's *.key_secret, where the service has keys"),
        ("--server-key", "LINEWATCH_SERVER_KEY", "the service's own server.key"),
    ):
        sub.add_argument(
            option,
            type=Path,
            metavar="FILE",
            default=os.environ.get(variable) or None,
            help=f"{about}; default: ${variable}",
        )
    return sub


def _client_keys(options: argparse.Namespace) -> "ClientKeys | None":
    from linewatch.client import ClientKeys

    if (options.key is None) != (options.server_key is None):
        raise ConfigError("expected both --key FILE.key_secret and --server-key FILE.key, or neither")
    return ClientKeys(options.key, options.server_key) if options.key else None


def _stored(sub: argparse.ArgumentParser) -> argparse.ArgumentParser:
    sub.add_argument("--history", type=Path, default=Path("configs/history.toml"), help="of `linewatch history`")
    sub.add_argument("--database", metavar="URL", help="of the history, instead")
    return sub


def _queried(sub: argparse.ArgumentParser) -> argparse.ArgumentParser:
    sub.add_argument("--config", type=Path, default=Path("configs/history.toml"), help="of `linewatch history`")
    sub.add_argument("--json", action="store_true")
    return sub


def _settings(path: Path | None) -> ServiceSettings:
    return ServiceSettings() if path is None else load_settings(path)


def _run(options: argparse.Namespace) -> None:
    from linewatch.daemon.run import run

    settings = load_settings(options.config)
    configure_logs(settings.log.level)
    run(settings, lambda: load_settings(options.config))


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


def _watch(options: argparse.Namespace) -> None:
    from linewatch.client.watch import watch

    watch(options.endpoint, options.serve, for_s=options.for_s, as_json=options.json, keys=_client_keys(options))


def _simulate(options: argparse.Namespace) -> None:
    from linewatch.daemon.simulate import render, simulator_source

    settings = _settings(options.config)
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
    with Commander(options.commands, keys=_client_keys(options)) as commander:
        reply = commander.engine(action, options.name, shadow=options.shadow)
    if options.json:
        print(reply.model_dump_json())
    else:
        lineup_table(reply.engines, reply.beside)


def _alarms(options: argparse.Namespace) -> None:
    from linewatch.client.questions import ask_snapshot
    from linewatch.tables import alarms_table

    found = ask_snapshot(options.serve, keys=_client_keys(options))
    if options.json:
        rows = {"standing": found.standing_alarms, "suppressed_or_shelved": found.suppressed_or_shelved}
        print(json.dumps({name: [row.model_dump(mode="json") for row in of] for name, of in rows.items()}))
    else:
        alarms_table(found.standing_alarms, found.suppressed_or_shelved)


def _ack(options: argparse.Namespace) -> None:
    if options.all == (options.alarm is not None):
        raise ConfigError("ack: expected the ID of one alarm, or --all; `linewatch alarms` lists them")
    _command(options, lambda to: to.acknowledge(options.alarm, token=options.token, by=options.by))


def _shelve(options: argparse.Namespace) -> None:
    _command(options, lambda to: to.shelve(options.alarm, options.minutes, token=options.token, by=options.by))


def _unshelve(options: argparse.Namespace) -> None:
    _command(options, lambda to: to.unshelve(options.alarm, token=options.token, by=options.by))


def _coil(options: argparse.Namespace) -> None:
    from linewatch.client import Commander
    from linewatch.tables import coil_table

    facts = {name: getattr(options, name) for name in _COIL_FACTS}
    told = {name: value for name, value in facts.items() if value is not None}
    given = {"coil": options.coil is not None, "at_mm": options.at_mm is not None, "file": options.file is not None}
    usable = {"start": {"coil", "at_mm"}, "end": {"coil", "at_mm"}, "data": {"coil", "file"}, "show": set()}
    alien = [name for name, there in given.items() if there and name not in usable[options.action]]
    if alien or (told and options.action != "data"):
        raise ConfigError(f"coil {options.action} has no {(alien or sorted(told))[0].replace('_', '-')}; leave it out")
    if options.action in ("start", "data") and (options.coil is None) == (options.file is None):
        raise ConfigError(
            f"coil {options.action}: expected the ID of the coil{', or --file' * (options.action == 'data')}"
        )
    known = {"token": options.token, "by": options.by}
    with Commander(options.commands, keys=_client_keys(options)) as commander:
        match options.action:
            case "start":
                reply = commander.start_coil(options.coil, options.at_mm, **known)
            case "end":
                reply = commander.end_coil(options.coil, options.at_mm, **known)
            case "data":
                reply = commander.tell_coil(_coil_data(options, told), **known)
            case _:
                reply = commander.show_coil()
    if options.json:
        print(reply.model_dump_json())
    else:
        coil_table(reply)


def _coil_data(options: argparse.Namespace, told: dict[str, Any]) -> CoilDataBody:
    if options.file is not None:
        from linewatch.daemon.coil_files import read_coil_file

        if told:
            raise ConfigError(
                f"coil data --file has no {sorted(told)[0].replace('_', '-')} beside the file; write it there"
            )
        return read_coil_file(options.file)
    data, faults = validated(CoilDataBody, {"coil": options.coil, **told}, "coil data")
    if data is None:
        raise ConfigError("\n".join(faults))
    return data


def _reload(options: argparse.Namespace) -> None:
    from linewatch.client import Commander

    with Commander(options.commands, keys=_client_keys(options)) as commander:
        reply = commander.reload_rules(by=options.by)
    if options.json:
        print(reply.model_dump_json())
        return
    print(f"taken up: settings {reply.config}; grading rules {', '.join(reply.gradings) or 'none'}")
    for name in reply.left:
        print(f"left until a restart: {name} is another in the file")


def _command(options: argparse.Namespace, send: Callable[[Any], Any]) -> None:
    from linewatch.client import Commander
    from linewatch.tables import alarm_state

    with Commander(options.commands, keys=_client_keys(options)) as commander:
        reply = send(commander)
    if options.json:
        print(reply.model_dump_json())
        return
    for alarm in reply.changed:
        print(f"{alarm.id}: {alarm_state(alarm)}")
    if not reply.changed:
        print("nothing to change: it is so already")


def _keys(options: argparse.Namespace) -> int:
    from linewatch.tables import keys_table
    from linewatch.wire import keyring
    from linewatch.wire.allow_list import read_allow_list

    folder, facts, said = options.dir, {}, ""
    match options.action:
        case "new":
            role = Role(options.role) if options.role else None
            private, public = keyring.make_pair(folder, options.name, role)
            facts = {"name": options.name, "role": role, "secret_file": str(private), "public_file": str(public)}
            said = f"{private}: for its owner alone\n{public}: {f'allowed as {role}' if role else 'for the other side'}"
        case "allow":
            key = keyring.allow(folder, options.file, Role(options.role), options.name)
            facts, said = {"name": key.name, "role": key.role}, f"{key.name}: allowed as {key.role}"
        case "revoke":
            left = keyring.revoke(folder, options.name)
            facts, said = {"name": options.name, "role": None}, f"{options.name}: not allowed any more"
            said += "" if left else "; none is left, and the service does not start without one"
        case "list":
            keys = read_allow_list(keyring.allow_list_of(folder))
            if options.json:
                print(json.dumps([{**asdict(key), "public": key.public and key.public.decode()} for key in keys]))
            else:
                keys_table(keys)
            return WireError.exit_code if any(key.fault for key in keys) else 0
    print(json.dumps(facts) if options.json else said)
    return 0


def _bridge(options: argparse.Namespace) -> None:
    settings = ModbusSettings() if options.config is None else load(options.config, ModbusSettings)
    if options.map is not None:
        from linewatch.plant.modbus.registers import map_csv

        if str(options.map) == "-":
            print(map_csv(settings), end="")
        else:
            options.map.write_text(map_csv(settings))
    elif options.check:
        print(f"{options.config or 'the defaults'}: good")
    elif options.config is None:
        raise ConfigError("bridge modbus: expected a configuration, for example configs/plant/modbus.toml")
    else:
        with _extra("plant"):
            from linewatch.plant.modbus.bridge import run_bridge

            configure_logs(settings.log.level)
            run_bridge(settings)


def _database(options: argparse.Namespace) -> str:
    if options.database is None:
        return load(options.history, HistorySettings).database
    if not re.match(DATABASE_URL, options.database):
        raise ConfigError(f"--database {options.database}: expected {DATABASE_URLS}")
    return str(options.database)


def _kept_pictures(options: argparse.Namespace) -> Path | None:
    """The folder of the history's pictures; None where it keeps none, or is named by its database alone."""
    images = load(options.history, HistorySettings).images if options.database is None else None
    return None if images is None else images.dir


def _source(options: argparse.Namespace, text: str | None, coil: str | None = None, passage: int | None = None) -> Any:
    """Where a coil is read from: what `text` names, or the history's coil or passage."""
    from linewatch.history.sources import source_of

    with _extra("history"):
        if text is None:
            from linewatch.history.stored import InHistory

            if coil is None and passage is None:
                raise ConfigError("no coil is named; give its id or --passage, for the history, or a verdict file")
            return InHistory(_database(options), coil, passage)
        if passage is not None:
            raise ConfigError(f"--passage {passage} is of the history, {text} is not; leave one of them out")
        return source_of(text, lambda: _database(options), coil)


def _picture(options: argparse.Namespace) -> None:
    from linewatch.capture.clock import MonotonicClock
    from linewatch.daemon.sources import camera_for, with_source
    from linewatch.history.picture import draw_coil
    from linewatch.simulation.truth import CoilTruth

    settings = with_source(_settings(options.config), options.source, own_line=options.config is None)
    assert settings.source is not None
    configure_logs("warning")
    truth = CoilTruth.read(options.truth) if options.truth else None
    boxes = [defect.box for defect in truth.defects] if truth else []
    record = _source(options, options.verdicts, options.coil).record()
    camera = camera_for(settings.source, settings.line, MonotonicClock(), live=False)
    draw_coil(camera, settings.line, record, boxes, options.out, tail_first=options.end == "tail")
    print(options.out)


def _regrade(options: argparse.Namespace) -> None:
    from linewatch.config.grading_load import load_grading
    from linewatch.decision.severity import GradingRules
    from linewatch.history.regrade import regrade
    from linewatch.tables import regraded_table

    taxonomy = Taxonomy.read(options.taxonomy)
    rules = GradingRules.of(load_grading(options.rules, taxonomy), taxonomy)
    for coil in _source(options, options.verdicts, options.coil, options.passage).records():
        found = regrade(coil, rules)
        if options.json:
            extra = {"changed": found.changed, "added": found.added, "dropped": found.dropped}
            print(json.dumps({**asdict(found), **extra}))
        else:
            regraded_table(found)


def _history(options: argparse.Namespace) -> None:
    settings = load(options.config, HistorySettings)
    configure_logs(settings.log.level)
    with _extra("history"):
        from linewatch.history.run import run_history

    run_history(settings)


def _coils(options: argparse.Namespace) -> None:
    with _extra("history"):
        from linewatch.history.database import reading
        from linewatch.history.listing import coils_json, coils_table
        from linewatch.history.queries import coils, gaps

    with reading(load(options.config, HistorySettings).database) as connection:
        rows = coils(connection, options.coil, after=options.after, limit=_page(options.limit))
        lost = gaps(connection)
    if options.json:
        print(coils_json(rows, lost))
    else:
        Console(width=None if sys.stdout.isatty() else _WIDE).print(coils_table(rows, lost))


def _defects(options: argparse.Namespace) -> None:
    with _extra("history"):
        from linewatch.history.database import reading
        from linewatch.history.listing import defects_json, defects_table
        from linewatch.history.pictures import pictures
        from linewatch.history.queries import defects, passage, passages_of

    limit, settings = _page(options.limit), load(options.config, HistorySettings)
    if options.images and settings.images is None:
        raise ConfigError(f"{options.config} keeps no pictures; they need its [images], and [crops] of the service")
    with reading(settings.database) as connection:
        if options.coil is None:
            passages, older = [passage(connection, options.passage)], 0
        else:
            passages, older = passages_of(connection, options.coil)
        numbers = [row.passage for row in passages]
        rows = defects(connection, numbers, options.defect_class, after=options.after, limit=limit)
        shown = None
        if options.images and settings.images is not None:
            shown = dict[int, Path]()
            for number in numbers:
                named = {row.name: row.defect for row in rows if row.passage == number}
                found = pictures(connection, settings.images.dir, number, named)
                shown |= {named[name]: picture.path for name, picture in found.items()}
    if options.json:
        print(defects_json(passages, older, rows, limit, shown))
    else:
        table = defects_table(passages, older, rows, limit, shown)
        Console(width=None if sys.stdout.isatty() else _WIDE).print(table)


def _label(options: argparse.Namespace) -> None:
    with _extra("history"):
        from linewatch.history.database import explained, writing
        from linewatch.history.labels import LabelVerdict, label

    url = load(options.config, HistorySettings).database
    with writing(url) as database, explained(url), database.begin() as connection:
        who = options.who or getpass.getuser()
        said = label(connection, options.defect, LabelVerdict(options.verdict), options.right_class, who)
    if options.json:
        print(json.dumps(asdict(said)))
    else:
        print(f"{said.name}: {said.found_class} is {said.right_class or 'not a defect'}, says {said.who}")


def _labels(options: argparse.Namespace) -> None:
    with _extra("history"):
        from linewatch.history.database import reading
        from linewatch.history.labels import export_labels

    settings = load(options.config, HistorySettings)
    with reading(settings.database) as connection:
        count = export_labels(connection, options.out, settings.images.dir if settings.images else None)
    print(json.dumps({"path": str(options.out), "labels": count}) if options.json else f"{options.out}: {count} labels")


def _page(limit: int) -> int:
    if not 1 <= limit <= 10_000:
        raise ConfigError(f"--limit is {limit}, expected 1 to 10000; --after gives what is behind a page")
    return limit


def _report(options: argparse.Namespace) -> None:
    with _extra("history"):
        from linewatch.history.report.stored import InArchive
        from linewatch.history.report.write import Pictures, Recording, ReportFiles, listed_masks, write_report
    from linewatch.capture.clock import MonotonicClock
    from linewatch.daemon.sources import camera_for, with_source
    from linewatch.history.severities import ClassSeverities

    files = ReportFiles(options.html, options.pdf, options.csv)
    wanted = [path for path in (files.html, files.pdf, files.csv) if path is not None]
    if not wanted:
        raise ConfigError("nothing to write; give at least one of --html FILE, --pdf FILE, --csv DIR")
    settings = _settings(options.config)
    taxonomy = settings.taxonomy or (TAXONOMY if TAXONOMY.is_file() else None)
    severities = ClassSeverities() if taxonomy is None else ClassSeverities.read(taxonomy)
    verdicts = None if options.verdicts is None else str(options.verdicts)
    record = _source(options, verdicts, options.coil, options.passage).record(listed_masks(severities))
    pictures: Pictures | None = None
    if options.source is not None:
        settings = with_source(settings, options.source, own_line=options.config is None)
        assert settings.source is not None
        camera = camera_for(settings.source, settings.line, MonotonicClock(), live=False)
        pictures = Recording(camera, settings.line)
    elif record.passage is not None and (kept := _kept_pictures(options)) is not None:
        pictures = InArchive(_database(options), kept)
    write_report(record, severities, files, pictures)
    for path in wanted:
        print(path)


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
    *("source", "config", "truth", "tolerance_mm", "size_tolerance", "database"),
    *("fail_lost", "fail_new", "fail_reclassified"),
)


def _compare(options: argparse.Namespace) -> int | None:
    """Verdict files are files, runs are folders."""
    from linewatch.history.sources import PREFIX

    paths = [Path(text) for text in options.paths if not text.startswith(PREFIX)]
    for path in paths:
        if not path.exists():
            raise ConfigError(
                f"{path}: no such file or folder; compare two verdict files or coils of the history "
                f"({PREFIX}COIL), or run folders"
            )
    folders = [path for path in paths if path.is_dir()]
    if len(folders) == len(options.paths):
        options.paths = folders
        _compare_runs(options)
        return None
    if folders:
        held = sorted(folders[0].glob("*.jsonl"))
        remedy = f"name the file in it, {held[0]}" if held else "compare two of a kind"
        raise ConfigError(f"{folders[0]} is a folder, the others are verdicts; {remedy}")
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
    from linewatch.history.coil import all_masks
    from linewatch.history.comparison import SIZE_TOLERANCE, Limits, as_json, compare, judge_both
    from linewatch.history.judge import TOLERANCE_MM
    from linewatch.history.sources import InFile
    from linewatch.history.strips import same_verdicts, strips_of
    from linewatch.simulation.truth import CoilTruth
    from linewatch.tables import comparison_table

    if len(options.paths) != 2:
        raise ConfigError(f"{len(options.paths)} verdict file or coil, expected two: A, which is the measure, and B")
    if (options.out is None) != (options.source is None):
        raise ConfigError("pictures need --source, the recording, and --out, the folder that they go to; give both")
    tolerance_mm = _bounded(options, "tolerance_mm", TOLERANCE_MM, 100.0)
    size_tolerance = _bounded(options, "size_tolerance", SIZE_TOLERANCE, 100.0)
    limits = Limits(*(_bounded(options, f"fail_{kind}", None, 1.0) for kind in ("lost", "new", "reclassified")))
    one, other = (_source(options, text) for text in options.paths)
    identical = isinstance(one, InFile) and isinstance(other, InFile) and same_verdicts(one.path, other.path)
    if identical and not options.json:
        print("A and B are the same verdicts, byte for byte but for the timing", flush=True)
    a = strips_of(one.records(all_masks))
    b = a if identical else strips_of(other.records(all_masks))
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
        comparison_table(comparison, judgements, (str(one), str(other)))
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


def _training() -> AbstractContextManager[None]:
    return _extra("train")


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """What needs the extra `name` says so where it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("linewatch"):
            raise
        raise ConfigError(f"needs {error.name}, which is not installed; pip install 'linewatch[{name}]'") from error


def _demo(options: argparse.Namespace) -> None:
    from linewatch.demo import demo
    from linewatch.tables import demo_table

    configure_logs("warning")
    settings = load_settings(options.config)
    summary, judgement = demo(options.out, options.length_m, options.seed, settings)
    demo_table(summary, judgement, options.out)


if __name__ == "__main__":
    sys.exit(main())
