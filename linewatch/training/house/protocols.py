"""The trainings of the three shipped engines as recipes: `linewatch train screen|classify|segment`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linewatch.contracts.errors import ConfigError
from linewatch.contracts.manifest import ENGINE_NAME
from linewatch.training.fit import Recipe
from linewatch.training.house import classify, screen, segment

WEIGHTS = "imagenet_weights"


@dataclass(frozen=True)
class HouseRecipe:
    """A training that ends in an engine. `sets`: those that it learns from; each must be there."""

    name: str
    about: str
    settings: Recipe
    sets: tuple[str, ...]
    train: Callable[[Path, Path, Any, Path], None]
    """Data folder (sets and `imagenet_weights` by name), engine folder, settings, run folder."""


HOUSE_RECIPES: dict[str, HouseRecipe] = {
    recipe.name: recipe
    for recipe in (
        HouseRecipe(
            "screen", "where in a frame to look", screen.ScreenRecipe(), ("neu", "xsdd", "severstal"), screen.train
        ),
        HouseRecipe(
            "classify",
            "which house classes a tile shows",
            classify.ClassifyRecipe(),
            ("neu", "xsdd", "severstal"),
            classify.train,
        ),
        HouseRecipe(
            "segment",
            "which pixels of a tile are defect",
            segment.SegmentRecipe(),
            ("neu", "xsdd", "severstal"),
            segment.train,
        ),
    )
}


def train_house(
    name: str, folders: Mapping[str, Path], changes: Sequence[str], weights: str | None, run: Path, out: Path
) -> None:
    """Trains one of the house's engines into `out`. `weights`: the folder imagenet_weights, else beside the sets."""
    recipe = HOUSE_RECIPES[name]
    if not re.fullmatch(ENGINE_NAME, out.name):
        raise ConfigError(
            f"--out {out}: its last part becomes the engine's name; expected lower-case letters, digits, - and _"
        )
    missing = [one for one in recipe.sets if one not in folders]
    if missing:
        raise ConfigError(
            f"{name} learns from {', '.join(recipe.sets)}; --data names no {', '.join(missing)}: add --data "
            f"{missing[0]}=DIR, or name the folder that holds them all"
        )
    imagenet = Path(weights) if weights else next(iter(folders.values())).parent / WEIGHTS
    if not imagenet.is_dir():
        raise ConfigError(f"{imagenet}: no such folder; name the folder of MobileNet weights with --weights")
    data = run / "data"
    data.mkdir(parents=True, exist_ok=True)
    for link, folder in {**{one: folders[one] for one in recipe.sets}, WEIGHTS: imagenet}.items():
        (data / link).unlink(missing_ok=True)
        (data / link).symlink_to(folder.resolve())
    recipe.train(data, out, recipe.settings.with_settings(changes), run)
