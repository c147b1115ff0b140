"""The work behind `linewatch train` and `linewatch evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.errors import ConfigError
from linewatch.datasets.arguments import joined, named_folders, open_sets
from linewatch.evaluation.evaluate import evaluate as evaluate_task
from linewatch.evaluation.evaluate import open_judgeable, unseen
from linewatch.metrics.judgement import Judgement
from linewatch.networks.pretrained import Source
from linewatch.training.house.protocols import HOUSE_RECIPES, train_house
from linewatch.training.protocols import PAPER_RECIPES
from linewatch.training.runs import Order, cross_validate
from linewatch.training.runs import train as train_paper

RUNS = Path("runs")


def train(
    name: str,
    *,
    data: Sequence[str],
    changes: Sequence[str] = (),
    weights: str | None = None,
    run: Path | None = None,
    folds: int | None = None,
    resume: bool = False,
    out: Path | None = None,
) -> Judgement | None:
    """Trains by the recipe `name` into a run folder and gives how good it is; of the house's, the engine's card
    tells."""
    if name in HOUSE_RECIPES:
        train_house(name, named_folders(data), changes, weights, run or RUNS / name, out or Path("engines") / name)
        return None
    if name not in PAPER_RECIPES:
        raise ConfigError(f"no recipe {name!r}, expected one of {', '.join([*PAPER_RECIPES, *HOUSE_RECIPES])}")
    recipe = PAPER_RECIPES[name]
    data_set = joined(open_sets(data))
    order = Order(
        recipe,
        recipe.settings.with_settings(changes),
        data_set,
        run or RUNS / f"{name}-{data_set.name}",
        _source(weights),
        resume,
    )
    return train_paper(order) if folds is None else cross_validate(order, _folds(folds))


def evaluate(
    target: str,
    *,
    data: Sequence[str],
    folds: int | None = None,
    weights: str | None = None,
    everything: bool = False,
    engines_dir: Path = Path("engines"),
    backend: str = "onnxruntime",
    run: Path | None = None,
) -> list[Judgement]:
    """Judges `target` on every set that `data` names; with `folds`, its recipe, trained so many times into `run`."""
    judgeable, taxonomy = open_judgeable(target, engines_dir, backend), Taxonomy.read()
    found = []
    for data_set in open_sets(data):
        if folds is None:
            specimens = data_set.specimens if everything else unseen(judgeable, data_set)
            found.append(evaluate_task(judgeable, data_set, specimens, taxonomy))
            continue
        if judgeable.trained is None:
            raise ConfigError(f"--kfold trains anew, which needs a checkpoint with its recipe; {target} is an engine")
        record = judgeable.trained.record
        folder = run or RUNS / f"{record.recipe}-{data_set.name}-{folds}-fold"
        settings = judgeable.trained.study.settings
        order = Order(PAPER_RECIPES[record.recipe], settings, data_set, folder, _source(weights), resume=True)
        found.append(cross_validate(order, _folds(folds)))
    return found


def _folds(folds: int) -> int:
    if not 2 <= folds <= 100:
        raise ConfigError(f"--kfold is {folds}, expected 2 to 100")
    return folds


def _source(weights: str | None) -> Source:
    return weights if weights in (None, "imagenet") else Path(weights)
