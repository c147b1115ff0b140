"""Train, evaluate and export the classify engine: which house classes does a tile show?

``linewatch train classify --data "$LINEWATCH_DATA" [--set steps=500]``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from linewatch.metrics.curves import DEFAULT_THRESHOLD, auc, threshold_by_f1
from linewatch.metrics.intervals import bounded
from linewatch.networks.classifier import TileClassifier
from linewatch.networks.shipped import Sigmoid
from linewatch.training.fit import Loss
from linewatch.training.house.tile_engine import TileEngine, TileSettings, data_and_folds, with_interval
from linewatch.training.samples.tiles import KnownTile

_FAR, _SMOOTHING = 30.0, 0.02
_PATCH_SETS, _STRIP_SETS = ("neu", "xsdd"), ("severstal", "rendered")
_F1_SLACK, _THRESHOLDS = 0.01, (0.1, 0.95)
"""False calls get a system switched off: the highest threshold within the slack of the best F1 is taken."""


class ClassifySettings(TileSettings):
    """Settings of the classifier's training."""

    steps: PositiveInt = 900
    batch: PositiveInt = 32
    average: float = 0.995
    peak_rate: float = 3e-4
    side: PositiveInt = 224
    frozen: int = 4
    ranking_weight: float = 0.5
    plain_share: float = 0.5


@dataclass(frozen=True)
class ClassifiedTiles:
    """Scores of tiles, float32 (tiles, classes), the classes that are there and known, and their set and file."""

    scores: NDArray[np.float32]
    there: NDArray[np.bool_]
    known: NDArray[np.bool_]
    source: NDArray[np.str_]
    file: NDArray[np.str_]

    @classmethod
    def of(cls, scores: NDArray[np.float32], tiles: Sequence[KnownTile]) -> ClassifiedTiles:
        there, known = (np.stack([getattr(tile, name) for tile in tiles]) > 0 for name in ("target", "weight"))
        source, file = (np.array([getattr(tile, name) for tile in tiles]) for name in ("source", "file"))
        return cls(scores, there, known, source, file)

    def at(self, rows: NDArray) -> ClassifiedTiles:
        """Return the tiles at `rows`."""
        return ClassifiedTiles(
            self.scores[rows], self.there[rows], self.known[rows], self.source[rows], self.file[rows]
        )

    def top1(self, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return whether the class with the highest score among the `allowed` ones is there, bool (tiles,)."""
        top = np.where(allowed, self.scores, -1).argmax(axis=1)
        return self.there[np.arange(len(top)), top]

    def share(self, name: str, values: NDArray[np.bool_], rows: NDArray[np.bool_] | None = None) -> dict[str, float]:
        """Return the share of tiles (in `rows`) with a true value, with its 95 % interval by a bootstrap over files."""
        values, files = (values, self.file) if rows is None else (values[rows], self.file[rows])
        return bounded(name, lambda at: float(values[at].mean()), files)


def masked_loss(ranking_weight: float) -> Loss:
    """Return the loss of a batch: binary cross-entropy of each class over the tiles in which the class is known.

    For tiles that show one class, `ranking_weight` times the cross-entropy of that class among all known ones is added.
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
    """Return how many different appearances each trained class has: one for every set that labels it."""
    named = [house for one in taxonomy.sets.values() for house in set(one.labels.values())]
    return [named.count(house) for house in taxonomy.trained_classes]


class Classify(TileEngine[ClassifySettings, ClassifiedTiles]):
    """The training of the classify engine."""

    task, version, outlined = Task.CLASSIFY, "2", False
    sources: ClassVar = {
        "neu": "NEU surface defect database",
        "xsdd": "X-SDD",
        "severstal": "Severstal, labelled frames",
    }

    def network(self, settings: ClassifySettings, taxonomy: Taxonomy, weights: Path | None) -> nn.Module:
        kinds = kinds_of(taxonomy)
        return TileClassifier(kinds, settings.encoder, weights, side=settings.side, frozen=settings.frozen)

    def loss(self, settings: ClassifySettings) -> Loss:
        return masked_loss(settings.ranking_weight)

    def tensors(self, tile: KnownTile) -> dict[str, Tensor]:
        """Target and weight, float32 (classes,)."""
        return {"target": torch.from_numpy(tile.target), "weight": torch.from_numpy(tile.weight)}

    def shipped(self, network: nn.Module) -> nn.Module:
        return Sigmoid(network)

    def answers(self, network: nn.Module, tiles: Sequence[KnownTile]) -> ClassifiedTiles:
        shipped = self.shipped(network).eval()
        parts = []
        with torch.inference_mode():
            for start in range(0, len(tiles), 64):
                images = np.stack([tile.image for tile in tiles[start : start + 64]])[:, None]
                parts.append(shipped(torch.from_numpy(images)).numpy())
        return ClassifiedTiles.of(np.concatenate(parts), tiles)

    def thresholds(self, answers: ClassifiedTiles, taxonomy: Taxonomy) -> dict[str, float]:
        """Choose each class's threshold by F1 over the tiles in which it is known; 0.5 where no tile shows it."""
        chosen = {}
        for index, name in enumerate(taxonomy.trained_classes):
            known = answers.known[:, index]
            score, there = answers.scores[known, index], answers.there[known, index]
            best = threshold_by_f1(score, there, _F1_SLACK)
            chosen[name] = float(np.clip(best, *_THRESHOLDS)) if there.any() else DEFAULT_THRESHOLD
        return chosen

    def evaluate(
        self, answers: ClassifiedTiles, thresholds: Mapping[str, float], taxonomy: Taxonomy
    ) -> dict[str, float]:
        """Return the metrics of each set; a class that a tile masks does not count there.

        Patch sets: SET_top1, share of patches whose highest score among the classes that the set labels belongs to a
        class that is there; SET_top1_all, the same among all classes; SET_recall and SET_precision of calls. Strip, by
        grid tile: SET_auc_CLASS, SET_f1_CLASS; SET_top1 of defective tiles; SET_defective_called, SET_clean_called,
        share of tiles with any call. *_low, *_high: 95 % bootstrap over files.
        """
        limits = np.array([thresholds[name] for name in taxonomy.trained_classes], np.float32)
        metrics: dict[str, float] = {}
        for name in (*_PATCH_SETS, *_STRIP_SETS):
            tiles = answers.at(answers.source == name)
            if len(tiles.scores):
                evaluate = _patch_metrics if name in _PATCH_SETS else _strip_metrics
                metrics |= evaluate(name, tiles, taxonomy, limits)
        return metrics

    def classes(self, taxonomy: Taxonomy) -> tuple[str, ...]:
        return taxonomy.trained_classes

    def card(self, facts: EngineFacts, calibration: Mapping[str, float], settings: ClassifySettings) -> str:
        metrics = facts.metrics
        rows = [
            [title, with_interval(metrics, name), with_interval(calibration, name)]
            for name, title in (
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
                *(of.get(f"{name}_{key}_{house}", "-") for of in (metrics, calibration) for key in ("auc", "f1")),
            ]
            for name in _STRIP_SETS
            for house in facts.classes
            if f"{name}_auc_{house}" in metrics
        ]
        data, folds = data_and_folds(facts, settings)
        return f"""# Engine `{facts.name}`: which house classes does a tile show?

Multi-label classifier for 256 x 256 gray tiles: `image` uint8 (n, 1, 256, 256) to `scores` float32 (n,
{len(facts.classes)}), one independent probability per class, in the order of the manifest. {facts.normalisation}

## How it was made
{settings.encoder} from ImageNet, {settings.steps} steps of {settings.batch} tiles, seed {settings.seed}, by
`linewatch train classify`. Labels by `configs/taxonomy.toml`; a class that a set does not label is masked in the
loss. Patches come at random scale, fill the tile, are mirrored, lie on clean strip or share the tile, so that the
network cannot tell the set by the padding. Data: {data}. Split: {facts.training.split}.

## Metrics
Fold 4 was used neither for training nor for thresholds. The last column: networks trained without the calibration
fold ({folds}), on that fold, where the thresholds were chosen (per class, the highest within 0.01 of the best F1). In
brackets: 95 % bootstrap over files.

{table(["metric", "fold 4", "calibration"], rows)}

Grid tiles by class:

{table(["class", "AUC", "F1 at threshold", "AUC, calibration", "F1, calibration"], per_class)}

Thresholds: {", ".join(f"{name} {value:.2f}" for name, value in facts.thresholds.items())}.

## Limits
- Fold 4 of Severstal is 21 frames of one mill: rough metrics, and `edge_mark` always lies near an edge there.
- Kaggle's labels are noisy and its classes nameless: `torn_spot`, `edge_mark`, `scratch`, `sliver` are named by eye.
- NEU patches often are cut-outs of one photograph. They are grouped here; papers that split at random read higher.
- Millimetres per pixel are not known for any of the sets; the manifest's scale is nominal.
- No pseudo-defect (water, oil, paint, tread plate) is called; frames that show them count as clean steel.

## Terms
{facts.terms}
"""


def _patch_metrics(
    name: str, tiles: ClassifiedTiles, taxonomy: Taxonomy, limits: NDArray[np.float32]
) -> dict[str, float]:
    of_set = np.array([one in taxonomy.sets[name].labels.values() for one in taxonomy.trained_classes])
    called = (tiles.scores >= limits) & tiles.known
    hits = (called & tiles.there).sum()
    return {
        **tiles.share(f"{name}_top1", tiles.top1(of_set & tiles.known)),
        **tiles.share(f"{name}_top1_all", tiles.top1(tiles.known)),
        f"{name}_recall": float(hits / max(tiles.there.sum(), 1)),
        f"{name}_precision": float(hits / max(called.sum(), 1)),
    }


def _strip_metrics(
    name: str, tiles: ClassifiedTiles, taxonomy: Taxonomy, limits: NDArray[np.float32]
) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for house in dict.fromkeys(taxonomy.sets[name].labels.values()):
        index = taxonomy.trained_classes.index(house)
        known = tiles.known[:, index]
        score, there = tiles.scores[known, index], tiles.there[known, index]
        area = auc(score, there)
        if area is not None:
            called = score >= limits[index]
            metrics[f"{name}_auc_{house}"] = area
            metrics[f"{name}_f1_{house}"] = float(2 * (called & there).sum() / max(called.sum() + there.sum(), 1))
    defective = np.any(tiles.there, axis=1)
    called_any = np.any(tiles.scores >= limits, axis=1)
    metrics |= tiles.share(f"{name}_clean_called", called_any, np.all(tiles.known, axis=1) & ~defective)
    metrics |= tiles.share(f"{name}_defective_called", called_any, defective)
    return metrics | tiles.share(f"{name}_top1", tiles.top1(tiles.known), defective)


CLASSIFY = Classify()
