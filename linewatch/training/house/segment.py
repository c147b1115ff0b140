"""Train, evaluate and export the segment engine: which pixels of a tile are defect, of whatever class?

``linewatch train segment --data "$LINEWATCH_DATA" [--set steps=500]``

Outlines are Severstal's (coarse polygons) and NEU's (fine, three classes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.manifest import Task
from linewatch.export.engine_folder import EngineFacts, table
from linewatch.metrics.intervals import bounded
from linewatch.networks.shipped import ByteProbability
from linewatch.networks.unet import MobileUNet
from linewatch.training.fit import Loss
from linewatch.training.house.tile_engine import TileEngine, TileSettings, data_and_folds, with_interval
from linewatch.training.samples.tiles import KnownTile

_SMALL_PX = 50
"""Added to both sides of a tile's Dice: defects of fewer pixels weigh less."""

FALSE_AREA_PX = 64
"""A clean tile counts as falsely called from this many called pixels on."""

OUTLINED_CLASSES = ("inclusion", "patches", "scratch", "torn_spot", "edge_mark", "sliver")
"""House classes with outlines in the real data (NEU, Severstal); for the others the classifier's tile is the outline.
"""


class SegmentSettings(TileSettings):
    """Settings of the segmenter's training."""

    steps: PositiveInt = 1800
    batch: PositiveInt = 20
    average: float = 0.997
    peak_rate: float = 8e-4
    clean_share: float = 0.35


@dataclass(frozen=True)
class AreasByThreshold:
    """Pixel counts of tiles at each threshold step t: a pixel is called where its byte is >= t.

    called, hit: int64 (tiles, 256), pixels called, and those of them that are defect. defect: int64 (tiles,). there:
    bool (tiles, classes). source, file: str (tiles,).
    """

    called: NDArray[np.int64]
    hit: NDArray[np.int64]
    defect: NDArray[np.int64]
    source: NDArray[np.str_]
    file: NDArray[np.str_]
    there: NDArray[np.bool_]

    def dice(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (256,): the Dice over all pixels of the tiles `rows` at each step."""
        return 2 * self.hit[rows].sum(0) / np.maximum(self.called[rows].sum(0) + self.defect[rows].sum(), 1)

    def dice_at(self, rows: NDArray[np.int64], step: int) -> float:
        """Return the Dice over all pixels of the tiles `rows` at one step."""
        area = self.called[rows, step].sum() + self.defect[rows].sum()
        return float(2 * self.hit[rows, step].sum() / max(area, 1))

    def dice_of(self, rows: NDArray[np.int64], step: int) -> Callable[[NDArray[np.intp]], float]:
        """Return `dice_at` as a function of indices into `rows`."""
        return lambda at: self.dice_at(rows[at], step)


def overlap_loss(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Return binary cross-entropy plus soft Dice (Milletari et al. 2016), of the whole batch and of each tile.

    Clean tiles count in the batch's Dice. In the mean over defective tiles a small defect weighs as much as a large
    one.
    """
    logits, defect = network(batch["image"]), batch["defect"]
    probability = logits.sigmoid()
    hit, size = (probability * defect).sum((1, 2, 3)), (probability + defect).sum((1, 2, 3))
    defective = defect.flatten(1).any(1)
    of_batch = (2 * hit.sum() + 1) / (size.sum() + 1)
    of_tiles = (2 * hit[defective] + _SMALL_PX) / (size[defective] + _SMALL_PX)
    loss = F.binary_cross_entropy_with_logits(logits, defect) + 0.25 * (1 - of_batch)
    return loss + 0.5 * (1 - of_tiles).mean() if defective.any() else loss


class Segment(TileEngine[SegmentSettings, AreasByThreshold]):
    """The training of the segment engine."""

    task, version, outlined = Task.SEGMENT, "3", True
    sources: ClassVar = {
        "neu": "NEU surface defect database, patches with masks",
        "severstal": "Severstal, labelled frames",
    }

    def network(self, settings: SegmentSettings, taxonomy: Taxonomy, weights: Path | None) -> nn.Module:
        return MobileUNet(settings.encoder, weights)

    def loss(self, settings: SegmentSettings) -> Loss:
        return overlap_loss

    def tensors(self, tile: KnownTile) -> dict[str, Tensor]:
        """The defect's mask, float32 (1, 256, 256)."""
        assert tile.defect is not None
        return {"defect": torch.from_numpy(tile.defect)[None].float()}

    def shipped(self, network: nn.Module) -> nn.Module:
        return ByteProbability(network)

    def answers(self, network: nn.Module, tiles: Sequence[KnownTile]) -> AreasByThreshold:
        shipped = self.shipped(network).eval()
        called, hit = np.zeros((len(tiles), 256), np.int64), np.zeros((len(tiles), 256), np.int64)
        with torch.inference_mode():
            for row, tile in enumerate(tiles):
                byte = shipped(torch.from_numpy(tile.image)[None, None]).numpy()[0]
                called[row] = np.bincount(byte.ravel(), minlength=256)[::-1].cumsum()[::-1]
                hit[row] = np.bincount(byte[tile.defect == 1], minlength=256)[::-1].cumsum()[::-1]
        defect = np.array([int(tile.defect.sum()) for tile in tiles])  # type: ignore[union-attr]
        source, file = (np.array([getattr(tile, name) for tile in tiles]) for name in ("source", "file"))
        return AreasByThreshold(called, hit, defect, source, file, np.stack([tile.target for tile in tiles]) > 0)

    def thresholds(self, answers: AreasByThreshold, taxonomy: Taxonomy) -> dict[str, float]:
        """Choose the threshold of the highest Dice, averaged over the sets so that none outweighs another."""
        curves = [answers.dice(np.flatnonzero(answers.source == name)) for name in np.unique(answers.source)]
        return {"defect": float(np.mean(curves, axis=0)[1:].argmax() + 1) / 255}

    def evaluate(
        self, answers: AreasByThreshold, thresholds: Mapping[str, float], taxonomy: Taxonomy
    ) -> dict[str, float]:
        """Return the metrics of each set.

        SET_dice, SET_iou: over all pixels of the set's tiles; SET_dice_CLASS: of tiles that show that class alone.
        SET_found: share of defective tiles with at least a tenth of their defect called. SET_clean_false_area: share of
        the pixels of clean tiles called. SET_clean_called: share of clean tiles with at least 64 pixels called. *_low,
        *_high: 95 % bootstrap over files.
        """
        step = int(np.ceil(thresholds["defect"] * 255))
        metrics: dict[str, float] = {}
        for name in np.unique(answers.source):
            rows = np.flatnonzero(answers.source == name)
            metrics |= bounded(f"{name}_dice", answers.dice_of(rows, step), answers.file[rows])
            metrics[f"{name}_iou"] = metrics[f"{name}_dice"] / (2 - metrics[f"{name}_dice"])
            alone = rows[answers.there[rows].sum(1) == 1]
            for index in np.unique(answers.there[alone].argmax(1)):
                house = taxonomy.trained_classes[index]
                metrics[f"{name}_dice_{house}"] = answers.dice_at(alone[answers.there[alone, index]], step)
        for name in ("severstal", "rendered"):
            rows = np.flatnonzero(answers.source == name)
            clean, defective = rows[answers.defect[rows] == 0], rows[answers.defect[rows] >= FALSE_AREA_PX]
            if len(defective):
                found = answers.hit[defective, step] >= 0.1 * answers.defect[defective]
                metrics[f"{name}_found"] = float(found.mean())
            if len(clean):
                called = answers.called[clean, step]
                metrics[f"{name}_clean_false_area"] = float(called.sum() / answers.called[clean, 0].sum())
                metrics[f"{name}_clean_called"] = float((called >= FALSE_AREA_PX).mean())
        return metrics

    def classes(self, taxonomy: Taxonomy) -> tuple[str, ...]:
        return OUTLINED_CLASSES

    def card(self, facts: EngineFacts, calibration: Mapping[str, float], settings: SegmentSettings) -> str:
        metrics = facts.metrics
        sets = ("severstal", "neu", "rendered")
        rows: list[list[object]] = [
            [f"{name}: Dice", with_interval(metrics, f"{name}_dice"), with_interval(calibration, f"{name}_dice")]
            for name in sets
        ]
        for key, title in (
            ("severstal_iou", "severstal: IoU"),
            ("neu_iou", "neu: IoU"),
            ("severstal_found", "severstal: defective tiles (>= 64 px) with a tenth of the defect called"),
            ("severstal_clean_called", "severstal: clean tiles with >= 64 px called"),
            ("severstal_clean_false_area", "severstal: area of clean tiles called"),
            ("rendered_found", "rendered: defective tiles with a tenth of the defect called"),
            ("rendered_clean_called", "rendered: clean tiles with >= 64 px called"),
        ):
            rows.append([title, metrics.get(key, "-"), calibration.get(key, "-")])
        for name in sets:
            prefix = f"{name}_dice_"
            for key, value in metrics.items():
                if key.startswith(prefix) and key not in (prefix + "low", prefix + "high"):
                    house = key.removeprefix(prefix)
                    rows.append([f"{name}: Dice of {house} alone", value, calibration.get(key, "-")])
        data, folds = data_and_folds(facts, settings)
        return f"""# Engine `{facts.name}`: which pixels of a tile are defect?

U-Net for 256 x 256 gray tiles, of any class: `image` uint8 (n, 1, 256, 256) to `probability` uint8 (n, 256, 256),
probability x 255. {facts.normalisation}. It works at half size and enlarges its output. Threshold:
{facts.thresholds["defect"]:.3f}.

## How it was made
{settings.encoder} from ImageNet as encoder, light decoder, {settings.steps} steps of {settings.batch} tiles, binary
cross-entropy, Dice of the batch and of each defective tile, seed {settings.seed},
by `linewatch train segment`. A third of the tiles hold NEU patches
(filling the tile, or laid on clean strip with or without their surroundings), the rest are cut from Severstal frames
at random scale; about a third show clean strip. Data: {data}. Split: {facts.training.split}.

## Metrics
Fold 4 was used neither for training nor for the threshold. The last column: networks trained without the calibration
fold ({folds}), on that fold, where the threshold was chosen (highest Dice, mean of the sets). Over all pixels of the
tiles, clean ones included; in brackets: 95 % bootstrap over files.

{table(["metric", "fold 4", "calibration"], rows)}

## Limits
- Severstal's outlines are coarse polygons, NEU's follow the defect; an outline of either kind may come out.
- Crazing, pitted surface, rolled-in scale and X-SDD's classes have no outlines in the real data: where the network
  finds nothing there, the classifier's tile stands for the instance.
- A class with a low Dice above is poorly outlined: bright scratches and small spots first of all. Its instances rest on
  the classifier's tile too.
- Fold 4 of Severstal is 21 frames of one mill: rough metrics. Kaggle's label noise is in both training and metrics.

## Terms
{facts.terms}
"""


SEGMENT = Segment()
