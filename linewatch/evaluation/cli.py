"""`linewatch train`, `evaluate`, `export`, `fit-thresholds`, `quantize`, `explain` and `networks`."""

import json
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from linewatch.contracts.errors import ConfigError
from linewatch.datasets.cli import Data, OwnSetOptions
from linewatch.files import write_output
from linewatch.logs import configure_logs
from linewatch.service_settings import ServiceSettings, settings_or_defaults
from linewatch.terminal import AsJson, extra, plain_console, wide_console

if TYPE_CHECKING:
    from linewatch.metrics.result import EvaluationResult

ENGINES = Path("engines")
_UNUSABLE = 3
"""The exit code of unusable input."""

Weights = Annotated[str | None, Parameter(help='"imagenet" or a file, instead of random weights.')]
Folder = Annotated[Path, Parameter(name="--engines", help="Folder of engines.")]
Target = Annotated[str, Parameter(name="TARGET", help="A checkpoint, or the name of an engine.")]


def train(
    recipe: Annotated[
        str | None, Parameter(help="A name of `linewatch networks`, or screen, classify, segment or inspect.")
    ] = None,
    /,
    *,
    queue: Annotated[
        Path | None,
        Parameter(
            help="TOML file of many trainings by the papers' protocols, instead of RECIPE: each is a folder in --run, "
            "goes on where it was cut short, and has a row in results.md there."
        ),
    ] = None,
    data: Data = (),
    own: OwnSetOptions = OwnSetOptions(),
    changes: Annotated[
        tuple[str, ...], Parameter(name="--set", help="KEY=VALUE, a setting of the recipe. May be repeated.")
    ] = (),
    weights: Weights = None,
    run: Annotated[Path | None, Parameter(help="Run folder. Default: runs/RECIPE-SET.")] = None,
    kfold: Annotated[
        int | None, Parameter(help="Train this many networks, each judged on the fold that it has not seen.")
    ] = None,
    resume: Annotated[bool, Parameter(help="Continue the run folder.")] = False,
    out: Annotated[Path | None, Parameter(help="Engine folder to write, of the four engines.")] = None,
    as_json: AsJson = False,
) -> int:
    if (recipe is None) == (queue is None):
        raise ConfigError("train: expected a RECIPE or --queue FILE, and not both")
    if queue is not None:
        if changes or weights or kfold or out or as_json:
            raise ConfigError("--queue: takes --data, --run and nothing else; settings stand in its file")
        return _train_queue(queue, data, run)
    assert recipe is not None
    with extra("train"):
        from linewatch.evaluation.commands import train

        result = train(
            recipe,
            data=data,
            own=own.own_sets(),
            changes=changes,
            weights=weights,
            run=run,
            folds=kfold,
            resume=resume,
            out=out,
        )
        if result is not None:
            _print_result(result, as_json)
    return 0


def _train_queue(file: Path, data: tuple[str, ...], runs: Path | None) -> int:
    with extra("train"):
        from linewatch.datasets.arguments import named_folders
        from linewatch.evaluation.queue.queue_file import read_queue
        from linewatch.evaluation.queue.run_queue import TABLE, QueueRunner

        configure_logs("info")
        folders = named_folders(data)
        runner = QueueRunner(read_queue(file, folders), folders, runs or Path("runs") / file.stem)
        states = runner.run()
    print((runner.runs / TABLE).read_text(), end="")
    for name, why in runner.failures.items():
        print(f"linewatch: run {name} {why}", file=sys.stderr)
    return 0 if all(state.ended for state in states) else 1


def evaluate(
    target: Target,
    /,
    *,
    data: Data = (),
    own: OwnSetOptions = OwnSetOptions(),
    kfold: Annotated[
        int | None, Parameter(help="Train the recipe of the checkpoint this many times on the set instead.")
    ] = None,
    run: Annotated[Path | None, Parameter(help="Run folder of --kfold.")] = None,
    weights: Annotated[
        str | None, Parameter(help='"imagenet" or a file, that the networks of --kfold start from.')
    ] = None,
    everything: Annotated[bool, Parameter(name="--all", help="Judge on the pictures of its training as well.")] = False,
    engines: Folder = ENGINES,
    backend: str = "onnxruntime",
    as_json: AsJson = False,
) -> None:
    with extra("train"):
        from linewatch.evaluation.commands import evaluate

        judgements = evaluate(
            target,
            data=data,
            own=own.own_sets(),
            folds=kfold,
            weights=weights,
            run=run,
            everything=everything,
            engines_dir=engines,
            backend=backend,
        )
        for result in judgements:
            _print_result(result, as_json)


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class ChainOptions:
    """The chain of engines, instead of what the configuration names."""

    engines_dir: Annotated[Path | None, Parameter(name="--engines", help="Folder of engines.")] = None
    chain: Annotated[Literal["cascade", "inspect"] | None, Parameter(help="Which engines look at a frame.")] = None
    screen: Annotated[str | None, Parameter(help="Name of an engine, likewise the next three.")] = None
    classify: str | None = None
    segment: str | None = None
    inspect: str | None = None
    backend: Annotated[str | None, Parameter(help="onnxruntime, openvino, cpu ...")] = None
    precision: Annotated[Literal["int8", "fp32"] | None, Parameter(help="int8 takes accepted INT8 siblings.")] = None

    def over(self, settings: ServiceSettings) -> ServiceSettings:
        """Return the settings with these options in their place. Raises ConfigError."""
        from linewatch.config.load import checked
        from linewatch.contracts.manifest import Task
        from linewatch.inference.settings import InferenceSettings

        given = {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}
        tree = {**settings.inference.model_dump(), **given}
        inference = checked(tree, "the options of the chain", InferenceSettings)
        unused = [
            f"--{task} {given[task.value]}" for task in Task if task not in inference.tasks and task.value in given
        ]
        if unused:
            expected = ", ".join(f"--{task}" for task in inference.tasks)
            raise ConfigError(
                f"{', '.join(unused)}: the chain {inference.chain} does not run it, expected {expected}; name the "
                "other chain by --chain, or leave it out"
            )
        return settings.model_copy(update={"inference": inference})


def judge(
    frames: Annotated[
        tuple[str, ...],
        Parameter(
            help="Folders of frames with their truth, as FOLDER or NAME=FOLDER, where [sets.NAME] of "
            "configs/taxonomy.toml maps its classes. Or the judgement.json of earlier judgements, to pool them."
        ),
    ],
    /,
    *,
    config: Annotated[
        Path | None, Parameter(help="A service's configuration: engines, decision, millimetres per pixel.")
    ] = None,
    chain: ChainOptions = ChainOptions(),
    own: OwnSetOptions = OwnSetOptions(),
    split: Annotated[
        Path | None,
        Parameter(help="Table of file, group, fold. Default: frames that look alike are one group."),
    ] = None,
    fold: Annotated[int | None, Parameter(help="Judge only the frames of this fold of the split.")] = None,
    without: Annotated[tuple[str, ...], Parameter(help="A frame to leave out. May be repeated.")] = (),
    out: Annotated[Path | None, Parameter(help="Folder for judgement.json, curves.png and gallery.png.")] = None,
    instances: Annotated[Path | None, Parameter(help="CSV file of every instance and every true piece.")] = None,
    as_json: AsJson = False,
) -> int:
    with extra("train"):
        from linewatch.datasets.problems import DatasetProblem, shortened
        from linewatch.evaluation.judging.judge import FrameChoice
        from linewatch.evaluation.judging.judge import judge as judge_frames
        from linewatch.evaluation.judging.tables import tables_of

        configure_logs("warning")
        settings = chain.over(settings_or_defaults(config))
        choice = FrameChoice(own.own_sets(), split, fold, without)
        judgement, figures = judge_frames(frames, settings, choice, out, instances)
    for note in judgement.notes:
        print(f"linewatch: {note}", file=sys.stderr)
    for line in shortened([DatasetProblem(Path(one.file), one.reason) for one in judgement.refused]):
        print(f"linewatch: not judged: {line}", file=sys.stderr)
    if as_json:
        print(json.dumps(judgement.summary(figures), indent=1))
    else:
        for table in tables_of(figures):
            wide_console().print(table)
    if judgement.refused:
        print(f"linewatch: {len(judgement.refused)} frames could not be judged", file=sys.stderr)
    return _UNUSABLE if judgement.refused else 0


def fit_probability(
    engine: Annotated[str, Parameter(help="Name of the inspect engine, or of the classify engine of a cascade.")],
    judgements: Annotated[
        tuple[Path, ...],
        Parameter(help="judgement.json of `linewatch judge`: of the chain, or of the chain of each fold."),
    ],
    /,
    *,
    tell_precision: Annotated[float, Parameter(help="Told: the lowest probability with this precision.")] = 0.60,
    call_precision: Annotated[float, Parameter(help="Called: the lowest probability with this precision ...")] = 0.80,
    false_per_clean_frame: Annotated[
        float | None,
        Parameter(help="... and at most so many false calls on a frame that is free of defects. Default: any number."),
    ] = None,
    engines: Folder = ENGINES,
    out: Annotated[Path | None, Parameter(help="Folder for reliability.png.")] = None,
) -> None:
    with extra("train"), extra("learn"):
        from linewatch.evaluation.judging.fit_probability import fit_probability
        from linewatch.learning.operating_point import Rule

        tell, call = Rule(tell_precision), Rule(call_precision, false_per_clean_frame)
        found = fit_probability(engine, judgements, engines, tell, call, out)
    for note in found.notes:
        print(f"linewatch: {note}", file=sys.stderr)
    low_high = "" if found.interval is None else f" ({found.interval[0]:.3f} to {found.interval[1]:.3f})"
    print(f"{', '.join(map(str, found.folders))}: second stage {found.model.version}, {found.model.fitted_on}")
    print(f"  calibration error {found.calibration_error:.3f}{low_high}, cross-validated over groups")
    for name, point in (("told", found.told), ("called", found.called)):
        false = (
            "" if point.false_per_clean_frame is None else f", {point.false_per_clean_frame:.3f} false a clean frame"
        )
        print(
            f"  {name} from {point.probability:g}: precision {point.precision:.3f}, {point.recall:.3f} of the true "
            f"instances{false}"
        )
        if point.unmet:
            print(f"    {point.unmet}")
    if found.left_out:
        print(f"  left out, not known of every instance: {', '.join(found.left_out)}")


def export(
    checkpoint: Path,
    /,
    *,
    name: Annotated[str, Parameter(help="Name of the engine.")],
    data: Annotated[
        tuple[str, ...],
        Parameter(help="severstal_frames=DIR, for a network of `train inspect`, whose card is made anew."),
    ] = (),
    engines: Folder = ENGINES,
) -> None:
    with extra("train"):
        from linewatch.evaluation.engine_export import export_checkpoint

        manifest = export_checkpoint(checkpoint, name, engines, data)
        print(f"{engines / manifest.name}: {manifest.task} engine, checked against torch")


def fit_thresholds(
    engine: Annotated[str, Parameter(help="Name of an engine.")],
    /,
    *,
    data: Data = (),
    own: OwnSetOptions = OwnSetOptions(),
    engines: Folder = ENGINES,
) -> None:
    with extra("train"):
        from linewatch.evaluation.thresholds import fit_thresholds

        found = fit_thresholds(engine, data, engines, own.own_sets())
        print(f"{engines / engine}: thresholds chosen on {found.pictures} pictures")
        for name, value in found.manifest.thresholds.items():
            print(f"  {name} {value:.3f} (was {found.before[name]:.3f})")
        for note in found.notes:
            print(f"  {note}")


def quantize(
    engine: Annotated[str, Parameter(help="Name of an FP32 engine.")],
    /,
    *,
    data: Data = (),
    name: Annotated[str | None, Parameter(help="Name of the INT8 engine. Default: ENGINE-int8.")] = None,
    bound: Annotated[
        float | None, Parameter(help="Largest drop of a figure, by the upper end of its 95 % interval.")
    ] = None,
    folds: Annotated[
        Path | None, Parameter(help="Run folder of the training of screen or inspect: judge over its folds.")
    ] = None,
    engines: Folder = ENGINES,
    calibration: Annotated[Path, Parameter(help="Folder of calibration pictures.")] = Path("calibration/int8"),
) -> None:
    with extra("train"):
        from linewatch.evaluation.quantize import int8_table, quantize

        siblings = quantize(
            engine,
            data=data,
            new_name=name,
            bound=bound,
            engines_dir=engines,
            calibration_dir=calibration,
            folds=folds,
        )
        wide_console().print(int8_table(siblings))


def explain(
    target: Target,
    image: Path,
    /,
    *,
    out: Annotated[Path, Parameter(help="The drawing, a .png file.")] = Path("out/explain.png"),
    engines: Folder = ENGINES,
) -> None:
    with extra("train"):
        from linewatch.evaluation.explain import explain

        found = explain(target, image, out, engines)
        for name, score in list(found.scores.items())[:3]:
            print(f"{name} {score:.3f}")
        print(out)


def networks(
    *,
    measure: Annotated[bool, Parameter(help="Time them all on this machine first; takes minutes.")] = False,
    as_json: AsJson = False,
) -> None:
    with extra("train"):
        from linewatch.evaluation import network_table as listing

        if measure:
            write_output(listing.MEASURED, f"{listing.measure().model_dump_json(indent=1)}\n".encode())
        measured = listing.read_measured()
        listed = listing.rows(measured)
        if as_json:
            print(json.dumps([row.model_dump() for row in listed], indent=1))
        else:
            wide_console().print(listing.table(listed, measured))


def _print_result(result: "EvaluationResult", as_json: bool) -> None:

    from linewatch.metrics.result import class_table, side_by_side

    if as_json:
        print(result.model_dump_json(exclude_none=True))
    else:
        plain_console().print(side_by_side(result))
        if result.per_class:
            plain_console().print(class_table(result))
