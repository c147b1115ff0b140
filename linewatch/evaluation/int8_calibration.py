"""The tiles that an INT8 engine's scales are computed from.

They are drawn from the images that its source was trained on, never from those that it is evaluated on, and written
down, without pixels, so that the same tiles can be drawn again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from linewatch.contracts.closed import ClosedModel
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.manifest import Sha256, Task
from linewatch.datasets import DataSet, Specimen
from linewatch.datasets.splits import SEED
from linewatch.evaluation.evaluate import EvaluationTarget, seen, windows_of
from linewatch.metrics.tiles import STEEL_SHARE, steel_columns
from linewatch.training.papers.study import resized

TILES = 128
CALIBRATION = Path("calibration/int8")


class CalibrationTile(ClosedModel):
    """The place of a tile, which is resized to the engine's input."""

    data_set: str
    file: str
    sha256: Sha256 = Field(description="of the image file")
    line: int = Field(ge=0, description="first line in the image")
    x: int = Field(ge=0, description="first column in the image")
    lines: int = Field(gt=0)
    width: int = Field(gt=0)


class Calibration(ClosedModel):
    """The contents of `calibration/int8/NAME.json`."""

    engine: str
    source: str
    source_sha256: Sha256
    seed: int
    tiles: tuple[CalibrationTile, ...]
    scales: dict[str, float] = Field(description="of each quantised activation, by its tensor in the source's graph")


def draw(
    target: EvaluationTarget, sets: Sequence[DataSet], count: int = TILES, seed: int = SEED
) -> tuple[list[CalibrationTile], list[NDArray[np.uint8]]]:
    """Draw about `count` tiles, equally many of each set; return them and their pixels, uint8 (lines, width).

    A tile of a frame is one of the engine's own windows on the steel; a patch is taken whole. Screen and inspect
    take frames only. `ConfigError` if the engine was trained on no image of the sets.
    """
    of_set = {one.name: _usable(target, one) for one in sorted(sets, key=lambda one: one.name)}
    of_set = {name: found for name, found in of_set.items() if found}
    if not of_set:
        raise ConfigError(
            f"--data: {target.name} was trained on no usable image of {', '.join(one.name for one in sets)}; "
            "scales come from what an engine was trained on: name those sets"
        )
    tiles, pixels = [], []
    for number, (name, specimens) in enumerate(of_set.items()):
        rng = np.random.default_rng((seed, number))
        for at in sorted(rng.permutation(len(specimens))[: max(1, count // len(of_set))]):
            tile, gray = _tile(target, specimens[at], rng)
            tiles.append(tile.model_copy(update={"data_set": name}))
            pixels.append(gray)
    return tiles, pixels


def _usable(target: EvaluationTarget, data_set: DataSet) -> list[Specimen]:
    found = sorted(seen(target, data_set), key=lambda one: one.file)
    if target.task not in {Task.SCREEN, Task.INSPECT}:
        return found
    return [one for one in found if one.gray().shape == (target.lines, target.width)]


def _tile(
    target: EvaluationTarget, specimen: Specimen, rng: np.random.Generator
) -> tuple[CalibrationTile, NDArray[np.uint8]]:
    gray = specimen.gray()
    windows = list(windows_of(gray.shape, target.lines, target.width))
    steel = steel_columns(gray)
    on_steel = [one for one in windows if steel[one[1]].mean() >= STEEL_SHARE] or windows
    window = on_steel[int(rng.integers(len(on_steel)))]
    cut = np.ascontiguousarray(gray[window])
    tile = CalibrationTile(
        data_set=specimen.data_set,
        file=specimen.file,
        sha256=hashlib.sha256(specimen.path.read_bytes()).hexdigest(),
        line=window[0].start or 0,
        x=window[1].start or 0,
        lines=cut.shape[0],
        width=cut.shape[1],
    )
    return tile, resized(cut, (target.width, target.lines))
