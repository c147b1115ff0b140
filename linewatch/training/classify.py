"""Trains, judges and exports the classify engine: which house classes does a tile show?

``python -m linewatch.training.classify --data "$LINEWATCH_DATA" --out engines/classify [--set steps=500]``

Thresholds come from folds that the judged network has not seen (`calibration_folds`, each predicted by a network fitted without it); the
shipped network is fitted to folds 0-3, and fold 4 gives the card's figures only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from torchmetrics.functional.classification import binary_auroc

from linewatch.contracts.manifest import Task, TrainingRecord, TrainingSource
from linewatch.networks.classifier import Scores, TileClassifier
from linewatch.training.datasets import ADAPTERS, Specimen, read_set
from linewatch.training.export import EngineFacts, export_engine, table
from linewatch.training.fit import Recipe, arguments, fit
from linewatch.training.splits import FOLDS, HELD_OUT_FOLD
from linewatch.training.taxonomy import Taxonomy
from linewatch.training.tiles import KnownTile, TileMaker, load_frames, load_patches
from linewatch.training.words import NORMALISATION, SPLIT, TERMS, UNKNOWN_SCALE_MM_PER_PX


class ClassifyRecipe(Recipe):
    """The classifier's recipe."""

    steps: int = 500
    batch: int = 32
    patch_share: float = 0.6
    clean_share: float = 0.35
    calibration_folds: tuple[int, ...] = (3,)


class TrainingTiles(Dataset):
    """Endless labelled tiles as tensors: image uint8 (1, 256, 256), target and weight float32 (classes,)."""

    def __init__(self, maker: TileMaker, recipe: Recipe):
        self.maker, self.recipe = maker, recipe

    def __len__(self) -> int:
        return self.recipe.steps * self.recipe.batch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        tile = self.maker.make(np.random.default_rng((self.recipe.seed, index)))
        return {
            "image": torch.from_numpy(tile.image)[None],
            "target": torch.from_numpy(tile.target),
            "weight": torch.from_numpy(tile.weight),
        }


def masked_loss(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Binary cross-entropy of each class over the tiles that say something about it."""
    logits = network(batch["image"])
    losses = F.binary_cross_entropy_with_logits(logits, batch["target"], reduction="none")
    return (losses * batch["weight"]).sum() / batch["weight"].sum().clamp(min=1)


def fit_classifier(specimens: Sequence[Specimen], taxonomy: Taxonomy, recipe: ClassifyRecipe, weights: Path | None, run: Path) -> nn.Module:
    """A classifier fitted to all of `specimens`."""
    maker = TileMaker(load_frames(specimens, taxonomy), load_patches(specimens, taxonomy), recipe.patch_share, recipe.clean_share)
    network = TileClassifier(len(taxonomy.trained_classes), recipe.encoder, weights)
    return fit(network, masked_loss, TrainingTiles(maker, recipe), recipe, run)


def judged_tiles(specimens: Sequence[Specimen], taxonomy: Taxonomy) -> list[KnownTile]:
    """The tiles on which a classifier is judged: the grid of each frame, each patch enlarged to a tile."""
    frames = [tile for frame in load_frames(specimens, taxonomy) for tile in frame.grid()]
    return frames + [patch.whole() for patch in load_patches(specimens, taxonomy)]


def predict(network: nn.Module, tiles: Sequence[KnownTile]) -> NDArray[np.float32]:
    """Scores float32 (tiles, classes)."""
    shipped = Scores(network).eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(tiles), 64):
            images = np.stack([tile.image for tile in tiles[start : start + 64]])[:, None]
            parts.append(shipped(torch.from_numpy(images)).numpy())
    return np.concatenate(parts)


def best_thresholds(scores: NDArray[np.float32], tiles: Sequence[KnownTile], classes: Sequence[str]) -> dict[str, float]:
    """Per class, the threshold of the highest F1 over the tiles that know the class; 0.5 where none shows it."""
    targets, weights = np.stack([tile.target for tile in tiles]), np.stack([tile.weight for tile in tiles])
    best = {}
    for index, name in enumerate(classes):
        known = weights[:, index] > 0
        score, there = scores[known, index], targets[known, index] > 0
        best[name] = _best_f1(score, there)[0] if there.any() else 0.5
    return best


def _best_f1(score: NDArray[np.float32], there: NDArray[np.bool_]) -> tuple[float, float]:
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(there[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + there.sum())
    at = int(f1.argmax())
    below = float(score[order[at + 1]]) if at + 1 < len(order) else 0.0
    return float(np.clip((float(score[order[at]]) + below) / 2, 0.02, 0.98)), float(f1[at])


def judge(scores: NDArray[np.float32], tiles: Sequence[KnownTile], taxonomy: Taxonomy, thresholds: dict[str, float]) -> dict[str, float]:
    """Figures per source.

    SET_top1: share of patches whose highest score among the classes that the set labels is one that it shows; SET_top1_all: among all
    classes that it does not mask. severstal_auc_CLASS, severstal_f1_CLASS: over grid tiles. severstal_clean_called: share of tiles without
    a defect that any class is called on. *_low, *_high: 95 % bootstrap over files.
    """
    classes = taxonomy.trained_classes
    limits = np.array([thresholds[name] for name in classes], np.float32)
    targets, weights = np.stack([tile.target for tile in tiles]), np.stack([tile.weight for tile in tiles])
    source = np.array([tile.source for tile in tiles])
    files = np.array([tile.file for tile in tiles])
    figures: dict[str, float] = {}
    for name in ("neu", "xsdd"):
        rows = np.flatnonzero(source == name)
        if not len(rows):
            continue
        of_set = np.array([one in taxonomy.sets[name].labels.values() for one in classes])
        for key, allowed in (("top1", np.broadcast_to(of_set, weights[rows].shape)), ("top1_all", weights[rows] > 0)):
            top = np.where(allowed, scores[rows], -1).argmax(axis=1)
            right = targets[rows, top]
            figures |= _with_interval(f"{name}_{key}", right, files[rows])
        called = (scores[rows] >= limits) & (weights[rows] > 0)
        there = targets[rows] > 0
        figures[f"{name}_recall"] = float((called & there).sum() / there.sum())
        figures[f"{name}_precision"] = float((called & there).sum() / max(called.sum(), 1))
    rows = np.flatnonzero(source == "severstal")
    if len(rows):
        for name in taxonomy.sets["severstal"].labels.values():
            index = classes.index(name)
            known = rows[weights[rows, index] > 0]
            there = targets[known, index] > 0
            if there.any() and not there.all():
                score = torch.from_numpy(scores[known, index])
                called = scores[known, index] >= thresholds[name]
                figures[f"severstal_auc_{name}"] = float(binary_auroc(score, torch.from_numpy(there.astype(np.int64))))
                figures[f"severstal_f1_{name}"] = float(2 * (called & there).sum() / max(called.sum() + there.sum(), 1))
        clean = np.array([not tiles[row].defect.any() for row in rows])  # type: ignore[union-attr]
        any_called = (scores[rows] >= limits).any(axis=1)
        figures |= _with_interval("severstal_clean_called", any_called[clean], files[rows][clean])
        figures |= _with_interval("severstal_defective_called", any_called[~clean], files[rows][~clean])
        top = np.where(weights[rows] > 0, scores[rows], -1).argmax(axis=1)
        figures |= _with_interval("severstal_top1", targets[rows, top][~clean], files[rows][~clean])
    return figures


def _with_interval(name: str, values: NDArray, files: NDArray[np.str_], draws: int = 1000) -> dict[str, float]:
    """Mean of `values` and its 95 % interval; whole files are drawn, since the tiles of one file are not independent."""
    if not len(values):
        return {}
    _, where = np.unique(files, return_inverse=True)
    total, count = np.bincount(where, values.astype(float)), np.bincount(where)
    drawn = np.random.default_rng(0).integers(0, len(count), (draws, len(count)))
    low, high = np.percentile(total[drawn].sum(1) / count[drawn].sum(1), [2.5, 97.5])
    return {name: float(values.mean()), f"{name}_low": float(low), f"{name}_high": float(high)}


def train(data: Path, out: Path, recipe: ClassifyRecipe, run: Path) -> None:
    """The whole of it: calibration networks, thresholds, the shipped network, its figures, the engine folder."""
    taxonomy = Taxonomy.read()
    specimens = [one for name in ADAPTERS for one in read_set(name, data)]
    weights = data / "imagenet_weights"
    usable = [fold for fold in range(FOLDS) if fold != HELD_OUT_FOLD]

    unseen: list[KnownTile] = []
    scores = []
    for fold in recipe.calibration_folds:
        seen = [one for one in specimens if one.fold in usable and one.fold != fold]
        network = fit_classifier(seen, taxonomy, recipe, weights, run / f"without-{fold}")
        tiles = judged_tiles([one for one in specimens if one.fold == fold], taxonomy)
        scores.append(predict(network, tiles))
        unseen += tiles
    thresholds = best_thresholds(np.concatenate(scores), unseen, taxonomy.trained_classes)

    seen = [one for one in specimens if one.fold in usable]
    network = fit_classifier(seen, taxonomy, recipe, weights, run / "shipped")
    held_out = judged_tiles([one for one in specimens if one.fold == HELD_OUT_FOLD], taxonomy)
    figures = judge(predict(network, held_out), held_out, taxonomy, thresholds)
    calibration = judge(np.concatenate(scores), unseen, taxonomy, thresholds)
    facts = EngineFacts(
        name=out.name,
        version="1",
        task=Task.CLASSIFY,
        nominal_mm_per_px=UNKNOWN_SCALE_MM_PER_PX,
        normalisation=NORMALISATION,
        classes=taxonomy.trained_classes,
        thresholds=thresholds,
        training=_record(seen, recipe),
        metrics=figures,
        terms=TERMS,
    )
    examples = np.stack([tile.image for tile in held_out[:: max(len(held_out) // 16, 1)]])[:, None]
    export_engine(Scores(network), facts, _card(facts, figures, calibration, recipe), examples, out)


def _record(seen: Sequence[Specimen], recipe: ClassifyRecipe) -> TrainingRecord:
    names = {"neu": "NEU surface defect database", "xsdd": "X-SDD", "severstal": "Severstal, labelled frames"}
    count = {name: sum(one.data_set == name and bool(one.labels) and one.knowledge != "class_only" for one in seen) for name in names}
    return TrainingRecord(
        recipe=f"linewatch.training.classify {recipe.model_dump_json()}",
        encoder=f"{recipe.encoder}, ImageNet",
        seed=recipe.seed,
        data=tuple(TrainingSource(name=names[name], part="folds 0-3", count=count[name]) for name in names),
        split=SPLIT,
    )


def _card(facts: EngineFacts, figures: dict[str, float], calibration: dict[str, float], recipe: ClassifyRecipe) -> str:
    def interval(name: str, of: dict[str, float]) -> str:
        return f"{of[name]:.3f} ({of[name + '_low']:.3f}-{of[name + '_high']:.3f})" if name in of else "-"

    rows = [
        ["NEU: top 1 of its six classes", interval("neu_top1", figures), interval("neu_top1", calibration)],
        ["NEU: top 1 of all classes not masked", interval("neu_top1_all", figures), interval("neu_top1_all", calibration)],
        ["X-SDD: top 1 of its classes", interval("xsdd_top1", figures), interval("xsdd_top1", calibration)],
        ["X-SDD: top 1 of all classes not masked", interval("xsdd_top1_all", figures), interval("xsdd_top1_all", calibration)],
        ["Severstal: top 1 on defective tiles", interval("severstal_top1", figures), interval("severstal_top1", calibration)],
        ["Severstal: defective tiles with any class called", interval("severstal_defective_called", figures), interval("severstal_defective_called", calibration)],
        ["Severstal: clean tiles with any class called", interval("severstal_clean_called", figures), interval("severstal_clean_called", calibration)],
    ]
    severstal = [name.removeprefix("severstal_auc_") for name in figures if name.startswith("severstal_auc_")]
    per_class = [
        [name, figures[f"severstal_auc_{name}"], figures[f"severstal_f1_{name}"], calibration.get(f"severstal_auc_{name}", float("nan"))] for name in severstal
    ]
    folds = ", ".join(str(fold) for fold in recipe.calibration_folds)
    return f"""# Engine `{facts.name}`: which house classes does a tile show?

Multi-label classifier for 256 x 256 gray tiles: `image` uint8 (n, 1, 256, 256) to `scores` float32 (n, {len(facts.classes)}), one independent
probability per class, in the order of the manifest. {facts.normalisation}

## How it was made
{recipe.encoder} from ImageNet, {recipe.steps} steps of {recipe.batch} tiles, seed {recipe.seed}, by `linewatch.training.classify`. Labels by `configs/taxonomy.toml`; a class that
a set does not label is masked in the loss. Patches come at random scale, fill the tile, are mirrored, lie on clean strip or share the tile, so that the set cannot be read off the padding.
Data: {", ".join(f"{source.name} {source.count} ({source.part})" for source in facts.training.data)}. Split: {facts.training.split}.

## Figures
Fold 4 was never seen, neither in training nor for thresholds. The last column are networks that did not see the calibration fold ({folds}), on that fold, where the
thresholds were chosen (highest F1 per class). In brackets: 95 % bootstrap over files.

{table(["figure", "fold 4", "calibration"], rows)}

Severstal's grid tiles of fold 4, by class:

{table(["class", "AUC", "F1 at threshold", "AUC, calibration"], per_class)}

Thresholds: {", ".join(f"{name} {value:.2f}" for name, value in facts.thresholds.items())}.

## Limits
- Fold 4 of Severstal is 21 frames of one mill; its figures are rough, and class 2 (`edge_mark`) always lies near an edge there.
- Kaggle's labels are noisy, and its classes have no names: `torn_spot`, `edge_mark`, `scratch`, `sliver` are ours, by look.
- NEU patches often are cut-outs of one photograph; grouped here, so the figures are below those of papers that split at random.
- Millimetres per pixel are not known for any of the sets; the manifest's scale is nominal.
- No pseudo-defect (water, oil, paint, tread plate) is called; frames that show them count as clean steel.

## Terms
{facts.terms}
"""


def main() -> None:
    found = arguments(__doc__ or "", ClassifyRecipe)
    train(found.data, found.out, ClassifyRecipe.with_settings(found.set), found.run)


if __name__ == "__main__":
    main()
