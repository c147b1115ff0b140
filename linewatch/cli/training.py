"""Commands that train, judge and ship networks."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from linewatch.cli.arguments import adder, extra, wide_console

if TYPE_CHECKING:
    from linewatch.cli.arguments import Commands


def add(commands: "Commands") -> None:
    """The commands of this kind."""
    command = adder(commands)

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

    networks = command("networks", _networks, "List the networks: size, operations, time a tile, whose they are.")
    networks.add_argument("--measure", action="store_true", help="time them all on this machine first; takes minutes")
    networks.add_argument("--json", action="store_true")


def _train(options: argparse.Namespace) -> None:
    with extra("train"):
        from linewatch.evaluation.commands import train

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
    with extra("train"):
        from linewatch.evaluation.commands import evaluate

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
    from linewatch.metrics.result import class_table, side_by_side

    if as_json:
        print(judgement.model_dump_json(exclude_none=True))
    else:
        Console().print(side_by_side(judgement))
        if judgement.per_class:
            Console().print(class_table(judgement))


def _export(options: argparse.Namespace) -> None:
    with extra("train"):
        from linewatch.evaluation.engine_export import export_checkpoint

        manifest = export_checkpoint(options.checkpoint, options.name, options.engines)
        print(f"{options.engines / manifest.name}: {manifest.task} engine, checked against torch")


def _quantize(options: argparse.Namespace) -> None:
    with extra("train"):
        from linewatch.evaluation.quantize import int8_table, quantize

        siblings = quantize(
            options.engine,
            data=options.data,
            new_name=options.name,
            bound=options.bound,
            engines_dir=options.engines,
            calibration_dir=options.calibration,
            folds=options.folds,
        )
        wide_console().print(int8_table(siblings))


def _explain(options: argparse.Namespace) -> None:
    with extra("train"):
        from linewatch.evaluation.explain import explain

        options.out.parent.mkdir(parents=True, exist_ok=True)
        found = explain(options.target, options.image, options.out, options.engines)
        for name, score in list(found.scores.items())[:3]:
            print(f"{name} {score:.3f}")
        print(options.out)


def _networks(options: argparse.Namespace) -> None:
    with extra("train"):
        from linewatch.evaluation import network_table as listing

        if options.measure:
            listing.MEASURED.write_text(listing.measure().model_dump_json(indent=1) + "\n")
        measured = listing.read_measured()
        listed = listing.rows(measured)
        if options.json:
            print(json.dumps([row.model_dump() for row in listed], indent=1))
        else:
            wide_console().print(listing.table(listed, measured))
