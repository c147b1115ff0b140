"""Engines trained without a fold, so that every labelled frame can be evaluated by a cascade that has not seen it.

``python -m experiments.fold_engines --data "$LINEWATCH_DATA"`` trains the three networks of each cascade without
fold F and without the held-out one, and writes ``runs/folds/engines/without-F/``. Manifests and thresholds are the
shipped engines', which evaluate the held-out fold themselves. A run resumes where it left off.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from torch import nn

from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.manifest import CASCADE, MANIFEST, EngineManifest, ModelFile, Task
from linewatch.datasets import HOUSE_SETS, Specimen, read_set
from linewatch.datasets.splits import HELD_OUT_FOLD, TRAINED_FOLDS
from linewatch.export.engine_folder import onnx_bytes
from linewatch.inference.engines import find_engine
from linewatch.inference.reference_tiles import write_reference_tiles
from linewatch.training.fit import SETTINGS_FILE, HouseSettings, read_settings
from linewatch.training.house.classify import CLASSIFY, ClassifySettings
from linewatch.training.house.protocols import WEIGHTS
from linewatch.training.house.screen import ScreenSettings, fit_without, load_screen
from linewatch.training.house.segment import SEGMENT, SegmentSettings
from linewatch.training.house.tile_engine import TileEngine, TileSettings

S = TypeVar("S", bound=HouseSettings)


def fold_folder(engines: Path, fold: int) -> Path:
    """Return the folder of the engines that have not seen `fold`."""
    return engines / f"without-{fold}"


def make_fold_engines(
    data: Path, run: Path, shipped: Path, folds: Sequence[int], changes: Mapping[Task, Sequence[str]]
) -> list[Path]:
    """Train the missing networks, write `run/engines/without-F/{screen,classify,segment}/` and return the folders.

    changes: `name=value` settings by task, for runs that have not begun. `run/screen` may be the run folder of
    `linewatch train screen`, which trains these very networks.
    """
    specimens = [one for name in HOUSE_SETS for one in read_set(name, data)]
    made = []
    for fold in folds:
        folder = fold_folder(run / "engines", fold)
        for task, network in _networks(data, specimens, fold, run, changes):
            _write(network, find_engine(shipped, task.value).manifest, folder / task.value)
        made.append(folder)
    return made


def _networks(
    data: Path, specimens: Sequence[Specimen], fold: int, run: Path, changes: Mapping[Task, Sequence[str]]
) -> Iterator[tuple[Task, nn.Module]]:
    taxonomy, weights = Taxonomy.read(), data / WEIGHTS
    seen = [one for one in specimens if one.fold in TRAINED_FOLDS and one.fold != fold]
    runs = {task: run / task / f"without-{fold}-{HELD_OUT_FOLD}" for task in CASCADE}

    def settings(task: Task, default: S) -> S:
        """Return the settings of the run if it has begun, else the changed default."""
        file = runs[task] / SETTINGS_FILE
        begun = read_settings(file, type(default)) if file.is_file() else None
        return begun or default.with_settings(changes[task])

    of_screen = settings(Task.SCREEN, ScreenSettings())
    yield Task.SCREEN, load_screen(fit_without(data, (fold, HELD_OUT_FOLD), of_screen, run / Task.SCREEN), of_screen)
    tile_engines: list[tuple[TileEngine, TileSettings]] = [(CLASSIFY, ClassifySettings()), (SEGMENT, SegmentSettings())]
    for engine, default in tile_engines:
        network = engine.fit(seen, taxonomy, settings(engine.task, default), weights, runs[engine.task])
        yield engine.task, engine.shipped(network)


def _write(network: nn.Module, shipped: EngineManifest, folder: Path) -> None:
    model = onnx_bytes(network, shipped.input.lines, shipped.input.width, shipped.output)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / shipped.model.file).write_bytes(model)
    manifest = shipped.model_copy(update={"model": ModelFile(sha256=hashlib.sha256(model).hexdigest()), "metrics": {}})
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2, exclude_none=True) + "\n")
    write_reference_tiles(folder)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, default=Path("runs/folds"))
    parser.add_argument("--engines", type=Path, default=Path("engines"), help="the shipped ones")
    parser.add_argument("--fold", type=int, action="append", choices=TRAINED_FOLDS, help="default: all of them")
    for task in CASCADE:
        parser.add_argument(f"--{task}", action="append", default=[], metavar="KEY=VALUE", help="change its settings")
    options = parser.parse_args()
    changes = {task: getattr(options, task) for task in CASCADE}
    for folder in make_fold_engines(options.data, options.run, options.engines, options.fold or TRAINED_FOLDS, changes):
        print(folder)


if __name__ == "__main__":
    main()
