"""Trains, judges and exports the segment engine: which pixels of a tile are defect, of whatever class?

``linewatch train segment --data "$LINEWATCH_DATA" [--set steps=500]``

Outlines are Severstal's (coarse polygons) and NEU's (fine, three classes). Threshold and figures: as for classify.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.manifest import Task, TrainingRecord, TrainingSource
from linewatch.datasets import HOUSE_SETS, Knowledge, Specimen, read_set
from linewatch.datasets.splits import FOLDS, HELD_OUT_FOLD
from linewatch.export.card_text import NORMALISATION, SPLIT, TERMS, UNKNOWN_SCALE_MM_PER_PX
from linewatch.export.engine_folder import EngineFacts, export_engine, table
from linewatch.networks.unet import ByteProbability, MobileUNet
from linewatch.training.fit import Recipe, fit, seeded
from linewatch.training.samples.tiles import (
    RENDERED_JUDGING_SEEDS,
    RENDERED_TRAINING_SEEDS,
    KnownTile,
    TileMaker,
    load_frames,
    load_patches,
    rendered_frames,
)

_SMALL_PX = 50
"""Added to both sides of a tile's Dice: outlines of fewer pixels weigh less."""

FALSE_AREA_PX = 64
"""A clean tile counts as falsely called from this many pixels over the threshold on."""

OUTLINED_CLASSES = ("inclusion", "patches", "scratch", "torn_spot", "edge_mark", "sliver")
"""House classes with outlines in the real data (NEU, Severstal); the classifier's tile speaks for the others."""


class SegmentRecipe(Recipe):
    """The segmenter's recipe."""

    steps: PositiveInt = 1800
    batch: PositiveInt = 20
    average: float = 0.997
    peak_rate: float = 8e-4
    patch_share: float = 0.5
    clean_share: float = 0.35
    rendered_share: float = 0.08
    calibration_folds: tuple[int, ...] = (3,)


class TrainingTiles(Dataset):
    """Endless outlined tiles as tensors: image uint8 (1, 256, 256), defect float32 (1, 256, 256)."""

    def __init__(self, maker: TileMaker, recipe: Recipe):
        self.maker, self.recipe = maker, recipe

    def __len__(self) -> int:
        return self.recipe.steps * self.recipe.batch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        tile = self.maker.make(np.random.default_rng((self.recipe.seed, index)))
        assert tile.defect is not None
        return {"image": torch.from_numpy(tile.image)[None], "defect": torch.from_numpy(tile.defect)[None].float()}


def overlap_loss(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Binary cross-entropy plus soft Dice (Milletari et al. 2016), of the whole batch, in which clean tiles count, and
    of each defective tile, so that a small defect weighs as much as a large one.
    """
    logits, defect = network(batch["image"]), batch["defect"]
    probability = logits.sigmoid()
    hit, size = (probability * defect).sum((1, 2, 3)), (probability + defect).sum((1, 2, 3))
    defective = defect.flatten(1).any(1)
    of_batch = (2 * hit.sum() + 1) / (size.sum() + 1)
    of_tiles = (2 * hit[defective] + _SMALL_PX) / (size[defective] + _SMALL_PX)
    loss = F.binary_cross_entropy_with_logits(logits, defect) + 0.25 * (1 - of_batch)
    return loss + 0.5 * (1 - of_tiles).mean() if defective.any() else loss


def fit_segmenter(
    specimens: Sequence[Specimen], taxonomy: Taxonomy, recipe: SegmentRecipe, weights: Path | None, run: Path
) -> nn.Module:
    """A segmenter fitted to all outlined ones of `specimens`."""
    maker = TileMaker(
        load_frames(specimens, taxonomy),
        load_patches(specimens, taxonomy, outlined=True),
        recipe.patch_share,
        recipe.clean_share,
        rendered_frames(RENDERED_TRAINING_SEEDS, taxonomy) if recipe.rendered_share else [],
        recipe.rendered_share,
    )
    return fit(
        seeded(lambda: MobileUNet(recipe.encoder, weights), recipe),
        overlap_loss,
        TrainingTiles(maker, recipe),
        recipe,
        run,
    )


def judged_tiles(specimens: Sequence[Specimen], taxonomy: Taxonomy) -> list[KnownTile]:
    """What a segmenter is judged on: the grid tiles of outlined frames, outlined patches enlarged to a tile."""
    frames = [tile for frame in load_frames(specimens, taxonomy) for tile in frame.grid()]
    return frames + [patch.whole() for patch in load_patches(specimens, taxonomy, outlined=True)]


@dataclass(frozen=True)
class Overlap:
    """Pixel counts per threshold step t: a pixel is called where its byte is >= t. Arrays (tiles, 256) and (tiles,)."""

    called: NDArray[np.int64]
    hit: NDArray[np.int64]
    defect: NDArray[np.int64]
    source: NDArray[np.str_]
    file: NDArray[np.str_]
    there: NDArray[np.bool_]  # (tiles, classes)

    def dice(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Dice over all pixels of `rows`, for each of the 256 steps."""
        return 2 * self.hit[rows].sum(0) / np.maximum(self.called[rows].sum(0) + self.defect[rows].sum(), 1)


def measure(network: nn.Module, tiles: Sequence[KnownTile]) -> Overlap:
    """Calls and hits of `network` on `tiles` at every threshold."""
    shipped = ByteProbability(network).eval()
    called, hit = np.zeros((len(tiles), 256), np.int64), np.zeros((len(tiles), 256), np.int64)
    with torch.inference_mode():
        for row, tile in enumerate(tiles):
            byte = shipped(torch.from_numpy(tile.image)[None, None]).numpy()[0]
            called[row] = np.bincount(byte.ravel(), minlength=256)[::-1].cumsum()[::-1]
            hit[row] = np.bincount(byte[tile.defect == 1], minlength=256)[::-1].cumsum()[::-1]
    defect = np.array([int(tile.defect.sum()) for tile in tiles])  # type: ignore[union-attr]
    source, file = np.array([tile.source for tile in tiles]), np.array([tile.file for tile in tiles])
    return Overlap(called, hit, defect, source, file, np.stack([tile.target for tile in tiles]) > 0)


def joined(parts: Sequence[Overlap]) -> Overlap:
    return Overlap(*(np.concatenate([getattr(part, name) for part in parts]) for name in Overlap.__dataclass_fields__))


def best_threshold(overlap: Overlap) -> float:
    """The threshold of the highest Dice, averaged over the sources so that no set outvotes another."""
    curves = [overlap.dice(np.flatnonzero(overlap.source == name)) for name in np.unique(overlap.source)]
    return float(np.mean(curves, axis=0)[1:].argmax() + 1) / 255


def judge(overlap: Overlap, threshold: float, classes: Sequence[str]) -> dict[str, float]:
    """Figures per source at `threshold`.

    SET_dice, SET_iou: over all pixels of the set's tiles; SET_dice_CLASS: of tiles that show that class alone.
    severstal_found: share of defective tiles with at least a tenth of their defect called.
    severstal_clean_false_area: share of the pixels of clean tiles called. severstal_clean_called: share of clean
    tiles with at least 64 pixels called. *_low, *_high: 95 % bootstrap over files.
    """
    step = int(np.ceil(threshold * 255))
    figures: dict[str, float] = {}
    for name in np.unique(overlap.source):
        rows = np.flatnonzero(overlap.source == name)
        files, where = np.unique(overlap.file[rows], return_inverse=True)
        sums = np.stack(
            [
                np.bincount(where, counts[rows])
                for counts in (overlap.hit[:, step], overlap.called[:, step], overlap.defect)
            ]
        )
        drawn = np.random.default_rng(0).integers(0, len(files), (1000, len(files)))
        dice = _dice(sums.sum(-1))
        low, high = np.percentile(_dice(sums[:, drawn].sum(-1)), [2.5, 97.5])
        figures |= {f"{name}_dice": float(dice), f"{name}_dice_low": float(low), f"{name}_dice_high": float(high)}
        figures[f"{name}_iou"] = float(dice / (2 - dice))
        alone = rows[overlap.there[rows].sum(1) == 1]
        for index in np.unique(overlap.there[alone].argmax(1)):
            of_class = alone[overlap.there[alone, index]]
            figures[f"{name}_dice_{classes[index]}"] = float(overlap.dice(of_class)[step])
    for name in ("severstal", "rendered"):
        rows = np.flatnonzero(overlap.source == name)
        clean, defective = rows[overlap.defect[rows] == 0], rows[overlap.defect[rows] >= FALSE_AREA_PX]
        if len(defective):
            figures[f"{name}_found"] = float((overlap.hit[defective, step] >= 0.1 * overlap.defect[defective]).mean())
        if len(clean):
            figures[f"{name}_clean_false_area"] = float(
                overlap.called[clean, step].sum() / overlap.called[clean, 0].sum()
            )
            figures[f"{name}_clean_called"] = float((overlap.called[clean, step] >= FALSE_AREA_PX).mean())
    return figures


def _dice(sums: NDArray) -> NDArray[np.float64]:
    hit, called, defect = sums
    return 2 * hit / np.maximum(called + defect, 1)


def make_engine(
    *,
    specimens: Sequence[Specimen],
    taxonomy: Taxonomy,
    weights: Path | None,
    out: Path,
    recipe: SegmentRecipe,
    run: Path,
) -> None:
    """The whole of it: calibration networks, threshold, the shipped network, its figures, the engine folder."""
    specimens = [one for one in specimens if one.knowledge is Knowledge.OUTLINED]
    usable = [fold for fold in range(FOLDS) if fold != HELD_OUT_FOLD]

    unseen = []
    for fold in recipe.calibration_folds:
        seen = [one for one in specimens if one.fold in usable and one.fold != fold]
        network = fit_segmenter(seen, taxonomy, recipe, weights, run / f"without-{fold}")
        unseen.append(measure(network, judged_tiles([one for one in specimens if one.fold == fold], taxonomy)))
    calibration = joined(unseen)
    threshold = best_threshold(calibration)

    seen = [one for one in specimens if one.fold in usable]
    network = fit_segmenter(seen, taxonomy, recipe, weights, run / "shipped")
    held_out = judged_tiles([one for one in specimens if one.fold == HELD_OUT_FOLD], taxonomy)
    if recipe.rendered_share:
        held_out += [tile for frame in rendered_frames(RENDERED_JUDGING_SEEDS, taxonomy) for tile in frame.grid()]
    figures = judge(measure(network, held_out), threshold, taxonomy.trained_classes)
    calibrated = judge(calibration, threshold, taxonomy.trained_classes)
    facts = EngineFacts(
        name=out.name,
        version="3",
        task=Task.SEGMENT,
        nominal_mm_per_px=UNKNOWN_SCALE_MM_PER_PX,
        normalisation=NORMALISATION,
        thresholds={"defect": threshold},
        classes=OUTLINED_CLASSES,
        training=_record(seen, recipe),
        metrics=figures,
        terms=TERMS,
    )
    examples = np.stack([tile.image for tile in held_out[:: max(len(held_out) // 16, 1)]])[:, None]
    export_engine(ByteProbability(network), facts, _card(facts, figures, calibrated, recipe), examples, out)


def _record(seen: Sequence[Specimen], recipe: SegmentRecipe) -> TrainingRecord:
    names = {"neu": "NEU surface defect database, patches with masks", "severstal": "Severstal, labelled frames"}
    return TrainingRecord(
        recipe=f"linewatch train segment {recipe.model_dump_json()}",
        encoder=f"{recipe.encoder}, ImageNet",
        seed=recipe.seed,
        data=tuple(
            TrainingSource(name=names[name], part="folds 0-3", count=sum(one.data_set == name for one in seen))
            for name in names
        ),
        split=SPLIT,
    )


def _card(facts: EngineFacts, figures: dict[str, float], calibration: dict[str, float], recipe: SegmentRecipe) -> str:
    def dice(name: str, of: dict[str, float]) -> str:
        return f"{of[name]:.3f} ({of[name + '_low']:.3f}-{of[name + '_high']:.3f})" if name in of else "-"

    rows: list[list[object]] = [
        [f"{name}: Dice", dice(f"{name}_dice", figures), dice(f"{name}_dice", calibration)]
        for name in ("severstal", "neu", "rendered")
    ]
    for key, words in (
        ("severstal_iou", "severstal: IoU"),
        ("neu_iou", "neu: IoU"),
        ("severstal_found", "severstal: defective tiles (>= 64 px) with a tenth of the defect called"),
        ("severstal_clean_called", "severstal: clean tiles with >= 64 px called"),
        ("severstal_clean_false_area", "severstal: area of clean tiles called"),
        ("rendered_found", "rendered: defective tiles with a tenth of the defect called"),
        ("rendered_clean_called", "rendered: clean tiles with >= 64 px called"),
    ):
        rows.append([words, figures.get(key, "-"), calibration.get(key, "-")])
    for name in ("severstal", "neu", "rendered"):
        prefix = f"{name}_dice_"
        for key, value in figures.items():
            if key.startswith(prefix) and key not in (prefix + "low", prefix + "high"):
                house = key.removeprefix(prefix)
                rows.append([f"{name}: Dice of {house} alone", value, calibration.get(key, "-")])
    folds = ", ".join(str(fold) for fold in recipe.calibration_folds)
    data = ", ".join(f"{source.name} {source.count} ({source.part})" for source in facts.training.data)
    return f"""# Engine `{facts.name}`: which pixels of a tile are defect?

U-Net for 256 x 256 gray tiles, of any class: `image` uint8 (n, 1, 256, 256) to `probability` uint8 (n, 256, 256),
probability x 255. {facts.normalisation}. It works at half size and enlarges its answer. Threshold:
{facts.thresholds["defect"]:.3f}.

## How it was made
{recipe.encoder} from ImageNet as encoder, light decoder, {recipe.steps} steps of {recipe.batch} tiles, binary
cross-entropy, Dice of the batch and of each defective tile, seed {recipe.seed},
by `linewatch train segment`. A third of the tiles hold NEU patches
(filling the tile, or laid on clean strip with or without their surroundings), the rest are cut from Severstal frames
at random scale; about a third show clean strip. Data: {data}. Split: {facts.training.split}.

## Figures
Fold 4 was never seen. The last column are networks that did not see the calibration fold ({folds}), on that fold,
where the threshold was chosen (highest Dice, mean of the sources). Over all pixels of the tiles, clean ones included;
in brackets 95 % bootstrap over files.

{table(["figure", "fold 4", "calibration"], rows)}

## Limits
- Severstal's outlines are coarse polygons, NEU's follow the defect; an outline of either kind may come out.
- Crazing, pitted surface, rolled-in scale and X-SDD's classes have no outlines in the real data: where the network
  finds nothing there, the classifier's tile stands for the instance.
- A class with a low Dice above is poorly outlined: bright scratches and small spots first of all. Its instances rest on
  the classifier's tile too.
- Fold 4 of Severstal is 21 frames of one mill: rough figures. Kaggle's label noise is in both training and figures.

## Terms
{facts.terms}
"""


def train(data: Path, out: Path, recipe: SegmentRecipe, run: Path) -> None:
    """`make_engine` from a folder that holds the sets and `imagenet_weights`."""
    make_engine(
        specimens=[one for name in HOUSE_SETS for one in read_set(name, data)],
        taxonomy=Taxonomy.read(),
        weights=data / "imagenet_weights",
        out=out,
        recipe=recipe,
        run=run,
    )
