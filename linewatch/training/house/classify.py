"""Trains, judges and exports the classify engine: which house classes does a tile show?

``linewatch train classify --data "$LINEWATCH_DATA" [--set steps=500]``

Thresholds come from folds that the judged network has not seen (`calibration_folds`, each predicted by a network
fitted without it); the shipped network is fitted to folds 0-3, and fold 4 gives the card's figures only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from torchmetrics.functional.classification import binary_auroc

from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.manifest import Task, TrainingRecord, TrainingSource
from linewatch.datasets import HOUSE_SETS, Specimen, read_set
from linewatch.datasets.splits import FOLDS, HELD_OUT_FOLD
from linewatch.export.card_text import NORMALISATION, SPLIT, TERMS, UNKNOWN_SCALE_MM_PER_PX
from linewatch.export.engine_folder import EngineFacts, export_engine, table
from linewatch.networks.classifier import Scores, TileClassifier
from linewatch.training.fit import Loss, Recipe, fit, seeded
from linewatch.training.samples.tiles import (
    RENDERED_JUDGING_SEEDS,
    RENDERED_TRAINING_SEEDS,
    KnownTile,
    TileMaker,
    load_frames,
    load_patches,
    rendered_frames,
)

_FAR, _SMOOTHING = 30.0, 0.02


class ClassifyRecipe(Recipe):
    """The classifier's recipe."""

    steps: PositiveInt = 900
    batch: PositiveInt = 32
    average: float = 0.995
    peak_rate: float = 3e-4
    side: PositiveInt = 224
    frozen: int = 4
    ranking_weight: float = 0.5
    patch_share: float = 0.5
    plain_share: float = 0.5
    clean_share: float = 0.4
    rendered_share: float = 0.08
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


def masked_loss(ranking_weight: float) -> Loss:
    """Binary cross-entropy of each class over the tiles that say something about it; and for tiles that show one class,
    `ranking_weight` times the cross-entropy of that one among all that the tile says something about.
    """

    def loss(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        logits, known = network(batch["image"]), batch["weight"] > 0
        losses = F.binary_cross_entropy_with_logits(logits, batch["target"], reduction="none")
        total = (losses * batch["weight"]).sum() / batch["weight"].sum().clamp(min=1)
        there = (batch["target"] > 0) & known
        single = there.sum(1) == 1
        if single.any():
            among = logits.masked_fill(~known, -_FAR)[single]
            ranked = F.cross_entropy(among, there[single].float().argmax(1), label_smoothing=_SMOOTHING)
            total = total + ranking_weight * ranked
        return total

    return loss


def kinds_of(taxonomy: Taxonomy) -> list[int]:
    """How many different looks each trained class has: one for every set that labels it."""
    named = [house for one in taxonomy.sets.values() for house in set(one.labels.values())]
    return [named.count(house) for house in taxonomy.trained_classes]


def fit_classifier(
    specimens: Sequence[Specimen], taxonomy: Taxonomy, recipe: ClassifyRecipe, weights: Path | None, run: Path
) -> nn.Module:
    """A classifier fitted to all of `specimens`."""
    maker = TileMaker(
        load_frames(specimens, taxonomy),
        load_patches(specimens, taxonomy),
        recipe.patch_share,
        recipe.clean_share,
        rendered_frames(RENDERED_TRAINING_SEEDS, taxonomy) if recipe.rendered_share else [],
        recipe.rendered_share,
        recipe.plain_share,
    )
    return fit(
        seeded(
            lambda: TileClassifier(kinds_of(taxonomy), recipe.encoder, weights, side=recipe.side, frozen=recipe.frozen),
            recipe,
        ),
        masked_loss(recipe.ranking_weight),
        TrainingTiles(maker, recipe),
        recipe,
        run,
    )


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


def best_thresholds(
    scores: NDArray[np.float32], tiles: Sequence[KnownTile], classes: Sequence[str]
) -> dict[str, float]:
    """Per class, a threshold by F1 over the tiles that know the class; 0.5 where none shows it."""
    targets, weights = np.stack([tile.target for tile in tiles]), np.stack([tile.weight for tile in tiles])
    best = {}
    for index, name in enumerate(classes):
        known = weights[:, index] > 0
        score, there = scores[known, index], targets[known, index] > 0
        best[name] = quiet_threshold(score, there) if there.any() else 0.5
    return best


def quiet_threshold(score: NDArray[np.float32], there: NDArray[np.bool_], slack: float = 0.01) -> float:
    """The highest threshold whose F1 is within `slack` of the best: false calls get a system switched off.

    It lies halfway to the next lower score, within [0.1, 0.95].
    """
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(there[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + there.sum())
    at = int(np.flatnonzero(f1 >= f1.max() - slack)[0])
    below = float(score[order[at + 1]]) if at + 1 < len(order) else 0.0
    return float(np.clip((float(score[order[at]]) + below) / 2, 0.1, 0.95))


def judge(
    scores: NDArray[np.float32], tiles: Sequence[KnownTile], taxonomy: Taxonomy, thresholds: dict[str, float]
) -> dict[str, float]:
    """Figures per source; a class that a tile masks counts for nothing there.

    Patch sets: SET_top1, share whose highest score among the classes that the set labels is one that it shows;
    SET_top1_all, among all; SET_recall and SET_precision of calls. Strip, by grid tile: SET_auc_CLASS, SET_f1_CLASS;
    SET_top1 of defective tiles; SET_defective_called, SET_clean_called, share of tiles that any class is called on.
    *_low, *_high: 95 % bootstrap over files.
    """
    figures: dict[str, float] = {}
    for name in ("neu", "xsdd", "severstal", "rendered"):
        rows = [row for row, tile in enumerate(tiles) if tile.source == name]
        if rows:
            judge_set = _judge_patches if name in ("neu", "xsdd") else _judge_strip
            figures |= judge_set(name, _Judged.of(scores[rows], [tiles[row] for row in rows]), taxonomy, thresholds)
    return figures


@dataclass(frozen=True)
class _Judged:
    """Scores of one source's tiles beside what is known of them; arrays (tiles, classes) and (tiles,)."""

    scores: NDArray[np.float32]
    there: NDArray[np.bool_]
    known: NDArray[np.bool_]
    files: NDArray[np.str_]

    @classmethod
    def of(cls, scores: NDArray[np.float32], tiles: Sequence[KnownTile]) -> Self:
        there, known = (np.stack([getattr(tile, name) for tile in tiles]) > 0 for name in ("target", "weight"))
        return cls(scores, there, known, np.array([tile.file for tile in tiles]))

    def top_right(self, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Is the class of the highest score among the allowed ones there?"""
        top = np.where(allowed, self.scores, -1).argmax(axis=1)
        return self.there[np.arange(len(top)), top]


def _judge_patches(name: str, judged: _Judged, taxonomy: Taxonomy, thresholds: dict[str, float]) -> dict[str, float]:
    classes = taxonomy.trained_classes
    of_set = np.array([one in taxonomy.sets[name].labels.values() for one in classes])
    figures = _with_interval(f"{name}_top1", judged.top_right(of_set & judged.known), judged.files)
    figures |= _with_interval(f"{name}_top1_all", judged.top_right(judged.known), judged.files)
    called = (judged.scores >= _limits(classes, thresholds)) & judged.known
    hits = (called & judged.there).sum()
    figures[f"{name}_recall"] = float(hits / max(judged.there.sum(), 1))
    figures[f"{name}_precision"] = float(hits / max(called.sum(), 1))
    return figures


def _judge_strip(name: str, judged: _Judged, taxonomy: Taxonomy, thresholds: dict[str, float]) -> dict[str, float]:
    classes = taxonomy.trained_classes
    figures: dict[str, float] = {}
    for house in dict.fromkeys(taxonomy.sets[name].labels.values()):
        index = classes.index(house)
        known = judged.known[:, index]
        score, there = judged.scores[known, index], judged.there[known, index]
        if there.any() and not there.all():
            called = score >= thresholds[house]
            figures[f"{name}_auc_{house}"] = float(binary_auroc(torch.from_numpy(score), torch.from_numpy(there).int()))
            figures[f"{name}_f1_{house}"] = float(2 * (called & there).sum() / max(called.sum() + there.sum(), 1))
    defective = np.any(judged.there, axis=1)
    clean = np.all(judged.known, axis=1) & ~defective
    called_on = np.any(judged.scores >= _limits(classes, thresholds), axis=1)
    figures |= _with_interval(f"{name}_clean_called", called_on[clean], judged.files[clean])
    figures |= _with_interval(f"{name}_defective_called", called_on[defective], judged.files[defective])
    figures |= _with_interval(f"{name}_top1", judged.top_right(judged.known)[defective], judged.files[defective])
    return figures


def _limits(classes: Sequence[str], thresholds: dict[str, float]) -> NDArray[np.float32]:
    return np.array([thresholds[name] for name in classes], np.float32)


def _with_interval(name: str, values: NDArray, files: NDArray[np.str_], draws: int = 1000) -> dict[str, float]:
    """Mean of `values` and its 95 % interval; whole files are drawn: tiles of one file are not independent."""
    if not len(values):
        return {}
    _, where = np.unique(files, return_inverse=True)
    total, count = np.bincount(where, values.astype(float)), np.bincount(where)
    drawn = np.random.default_rng(0).integers(0, len(count), (draws, len(count)))
    low, high = np.percentile(total[drawn].sum(1) / count[drawn].sum(1), [2.5, 97.5])
    return {name: float(values.mean()), f"{name}_low": float(low), f"{name}_high": float(high)}


def make_engine(
    *,
    specimens: Sequence[Specimen],
    taxonomy: Taxonomy,
    weights: Path | None,
    out: Path,
    recipe: ClassifyRecipe,
    run: Path,
) -> None:
    """The whole of it: calibration networks, thresholds, the shipped network, its figures, the engine folder."""
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
    if recipe.rendered_share:
        held_out += [tile for frame in rendered_frames(RENDERED_JUDGING_SEEDS, taxonomy) for tile in frame.grid()]
    figures = judge(predict(network, held_out), held_out, taxonomy, thresholds)
    calibration = judge(np.concatenate(scores), unseen, taxonomy, thresholds)
    facts = EngineFacts(
        name=out.name,
        version="2",
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
    count = {
        name: sum(one.data_set == name and bool(one.labels) and one.knowledge != "class_only" for one in seen)
        for name in names
    }
    return TrainingRecord(
        recipe=f"linewatch train classify {recipe.model_dump_json()}",
        encoder=f"{recipe.encoder}, ImageNet",
        seed=recipe.seed,
        data=tuple(TrainingSource(name=names[name], part="folds 0-3", count=count[name]) for name in names),
        split=SPLIT,
    )


def _card(facts: EngineFacts, figures: dict[str, float], calibration: dict[str, float], recipe: ClassifyRecipe) -> str:
    def interval(of: dict[str, float], name: str) -> str:
        return f"{of[name]:.3f} ({of[name + '_low']:.3f}-{of[name + '_high']:.3f})" if name in of else "-"

    rows = [
        [words, interval(figures, name), interval(calibration, name)]
        for name, words in (
            ("neu_top1", "NEU: top 1 of its six classes"),
            ("neu_top1_all", "NEU: top 1 of all classes not masked"),
            ("xsdd_top1", "X-SDD: top 1 of its seven classes"),
            ("xsdd_top1_all", "X-SDD: top 1 of all classes not masked"),
            ("severstal_top1", "Severstal: top 1 on defective tiles"),
            ("severstal_defective_called", "Severstal: defective tiles with any class called"),
            ("severstal_clean_called", "Severstal: clean tiles with any class called"),
            ("rendered_top1", "rendered strip: top 1 on defective tiles"),
            ("rendered_defective_called", "rendered strip: defective tiles with any class called"),
            ("rendered_clean_called", "rendered strip: clean tiles with any class called"),
        )
    ]
    per_class = [
        [
            f"{name}: {house}",
            *(of.get(f"{name}_{key}_{house}", "-") for of in (figures, calibration) for key in ("auc", "f1")),
        ]
        for name in ("severstal", "rendered")
        for house in facts.classes
        if f"{name}_auc_{house}" in figures
    ]
    folds = ", ".join(str(fold) for fold in recipe.calibration_folds)
    data = ", ".join(f"{source.name} {source.count} ({source.part})" for source in facts.training.data)
    return f"""# Engine `{facts.name}`: which house classes does a tile show?

Multi-label classifier for 256 x 256 gray tiles: `image` uint8 (n, 1, 256, 256) to `scores` float32 (n,
{len(facts.classes)}), one independent probability per class, in the order of the manifest. {facts.normalisation}

## How it was made
{recipe.encoder} from ImageNet, {recipe.steps} steps of {recipe.batch} tiles, seed {recipe.seed}, by
`linewatch train classify`. Labels by `configs/taxonomy.toml`; a class that a set does not label is masked in the
loss. Patches come at random scale, fill the tile, are mirrored, lie on clean strip or share the tile, so that the set
cannot be read off the padding. Data: {data}. Split: {facts.training.split}.

## Figures
Fold 4 was never seen, neither in training nor for thresholds. The last column are networks that did not see the
calibration fold ({folds}), on that fold, where the thresholds were chosen (per class, the highest within 0.01 of the
best F1). In brackets: 95 % bootstrap over files.

{table(["figure", "fold 4", "calibration"], rows)}

Grid tiles by class:

{table(["class", "AUC", "F1 at threshold", "AUC, calibration", "F1, calibration"], per_class)}

Thresholds: {", ".join(f"{name} {value:.2f}" for name, value in facts.thresholds.items())}.

## Limits
- Fold 4 of Severstal is 21 frames of one mill: rough figures, and `edge_mark` always lies near an edge there.
- Kaggle's labels are noisy and its classes nameless: `torn_spot`, `edge_mark`, `scratch`, `sliver` are named by look.
- NEU patches often are cut-outs of one photograph. They are grouped here; papers that split at random read higher.
- Millimetres per pixel are not known for any of the sets; the manifest's scale is nominal.
- No pseudo-defect (water, oil, paint, tread plate) is called; frames that show them count as clean steel.

## Terms
{facts.terms}
"""


def train(data: Path, out: Path, recipe: ClassifyRecipe, run: Path) -> None:
    """`make_engine` from a folder that holds the sets and `imagenet_weights`."""
    make_engine(
        specimens=[one for name in HOUSE_SETS for one in read_set(name, data)],
        taxonomy=Taxonomy.read(),
        weights=data / "imagenet_weights",
        out=out,
        recipe=recipe,
        run=run,
    )
