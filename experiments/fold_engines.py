"""Engines that have not seen a fold, so that every labelled frame can be judged by a whole cascade that is new to it.

``python -m experiments.fold_engines --data "$LINEWATCH_DATA"`` trains the three networks of each cascade without
fold F and without the held-out one, and writes ``runs/folds/engines/without-F/``. Manifests and thresholds are the
shipped engines'; of the held-out fold the shipped engines are the judges. A run goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from torch import nn

from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.manifest import EngineManifest, ModelFile, Task
from linewatch.datasets import HOUSE_SETS, Knowledge, Specimen, read_set
from linewatch.datasets.splits import FOLDS, HELD_OUT_FOLD
from linewatch.export.engine_folder import onnx_bytes
from linewatch.inference.engines import MANIFEST, find_engine
from linewatch.networks.classifier import Scores
from linewatch.networks.unet import ByteProbability
from linewatch.training.fit import Recipe
from linewatch.training.house.classify import ClassifyRecipe, fit_classifier
from linewatch.training.house.protocols import WEIGHTS
from linewatch.training.house.screen import ScreenRecipe, fit_without, load_screen
from linewatch.training.house.segment import SegmentRecipe, fit_segmenter

TRAINED_FOLDS = tuple(fold for fold in range(FOLDS) if fold != HELD_OUT_FOLD)


R = TypeVar("R", bound=Recipe)


def fold_folder(engines: Path, fold: int) -> Path:
    """Where the engines lie that have not seen `fold`."""
    return engines / f"without-{fold}"


def make_fold_engines(
    data: Path, run: Path, shipped: Path, folds: Sequence[int], changes: Mapping[Task, Sequence[str]]
) -> list[Path]:
    """Trains what is not trained yet and writes `run/engines/without-F/{screen,classify,segment}/`; gives the folders.

    changes: `name=value` settings by task, for networks whose run has not begun. `run/screen` may be the run folder of
    `linewatch train screen`, which trains these very networks.
    """
    specimens = [one for name in HOUSE_SETS for one in read_set(name, data)]
    made = []
    for fold in folds:
        folder = fold_folder(run / "engines", fold)
        for task, network in _networks(data, specimens, fold, run, changes).items():
            _write(network(), find_engine(shipped, task.value).manifest, folder / task.value)
        made.append(folder)
    return made


def _networks(
    data: Path,
    specimens: Sequence[Specimen],
    fold: int,
    run: Path,
    changes: Mapping[Task, Sequence[str]],
) -> dict[Task, Callable[[], nn.Module]]:
    taxonomy, weights = Taxonomy.read(), data / WEIGHTS
    seen = [one for one in specimens if one.fold in TRAINED_FOLDS and one.fold != fold]
    outlined = [one for one in seen if one.knowledge is Knowledge.OUTLINED]
    runs = {task: run / task / f"without-{fold}-{HELD_OUT_FOLD}" for task in Task}

    def recipe(task: Task, usual: R) -> R:
        """Of the run that is there; else the usual one, changed."""
        told = runs[task] / "recipe.json"
        return (
            type(usual).model_validate_json(told.read_text()) if told.is_file() else usual.with_settings(changes[task])
        )

    def screen() -> nn.Module:
        of = recipe(Task.SCREEN, ScreenRecipe())
        return load_screen(fit_without(data, (fold, HELD_OUT_FOLD), of, run / Task.SCREEN), of)

    def classifier() -> nn.Module:
        of = recipe(Task.CLASSIFY, ClassifyRecipe())
        return Scores(fit_classifier(seen, taxonomy, of, weights, runs[Task.CLASSIFY]))

    def segmenter() -> nn.Module:
        of = recipe(Task.SEGMENT, SegmentRecipe())
        return ByteProbability(fit_segmenter(outlined, taxonomy, of, weights, runs[Task.SEGMENT]))

    return {Task.SCREEN: screen, Task.CLASSIFY: classifier, Task.SEGMENT: segmenter}


def _write(network: nn.Module, shipped: EngineManifest, folder: Path) -> None:
    model = onnx_bytes(network, shipped.input.lines, shipped.input.width, shipped.output)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / shipped.model.file).write_bytes(model)
    manifest = shipped.model_copy(update={"model": ModelFile(sha256=hashlib.sha256(model).hexdigest()), "metrics": {}})
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2, exclude_none=True) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, default=Path("runs/folds"))
    parser.add_argument("--engines", type=Path, default=Path("engines"), help="the shipped ones")
    parser.add_argument("--fold", type=int, action="append", choices=TRAINED_FOLDS, help="default: all of them")
    for task in Task:
        parser.add_argument(f"--{task}", action="append", default=[], metavar="KEY=VALUE", help="change its recipe")
    options = parser.parse_args()
    changes = {task: getattr(options, task) for task in Task}
    for folder in make_fold_engines(options.data, options.run, options.engines, options.fold or TRAINED_FOLDS, changes):
        print(folder)  # noqa: T201


if __name__ == "__main__":
    main()
