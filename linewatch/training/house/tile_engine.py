"""The common part of training the classify and the segment engine: both learn from tiles cut or composed from images.

`TileEngine.train` fits the calibration networks, each without one fold; chooses the thresholds on the folds that those
networks have not seen; fits the shipped network to folds 0-3; evaluates it on fold 4; and exports it. `classify` and
`segment` say what differs: network, loss, thresholds, metrics and card.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.manifest import Task, TrainingRecord, TrainingSource
from linewatch.datasets import HOUSE_SETS, Knowledge, Specimen, read_set
from linewatch.datasets.splits import HELD_OUT_FOLD, TRAINED_FOLDS
from linewatch.export.card_text import NORMALISATION, SPLIT, TERMS, UNKNOWN_SCALE_MM_PER_PX
from linewatch.export.engine_folder import EngineFacts, export_engine
from linewatch.training.fit import HouseSettings, Loss, fit, seeded
from linewatch.training.samples.tiles import (
    RENDERED_TEST_SEEDS,
    RENDERED_TRAINING_SEEDS,
    KnownTile,
    TileMaker,
    load_frames,
    load_patches,
    rendered_frames,
)


class TileSettings(HouseSettings):
    """Settings of a training on tiles; for the shares see `TileMaker`."""

    patch_share: float = 0.5
    clean_share: float = 0.4
    plain_share: float = 0.0
    rendered_share: float = 0.08
    calibration_folds: tuple[int, ...] = (3,)


S = TypeVar("S", bound=TileSettings)
A = TypeVar("A")


class TrainingTiles(Dataset):
    """Endless training tiles, each the tensors that the engine's loss needs; tile i depends on the seed and i alone."""

    def __init__(self, maker: TileMaker, settings: TileSettings, tensors: Callable[[KnownTile], dict[str, Tensor]]):
        self.maker, self.settings, self.tensors = maker, settings, tensors

    def __len__(self) -> int:
        return self.settings.steps * self.settings.batch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        tile = self.maker.make(np.random.default_rng((self.settings.seed, index)))
        return {"image": torch.from_numpy(tile.image)[None], **self.tensors(tile)}


class TileEngine(ABC, Generic[S, A]):
    """One engine that is trained on tiles. `A` is a dataclass of arrays (tiles, ...): its answers beside the truth."""

    task: ClassVar[Task]
    version: ClassVar[str]
    outlined: ClassVar[bool]
    """Whether only outlined specimens can be used."""
    sources: ClassVar[Mapping[str, str]]
    """The sets that the manifest names, and their full names."""

    @abstractmethod
    def network(self, settings: S, taxonomy: Taxonomy, weights: Path | None) -> nn.Module:
        """Build the network; `weights` is the folder `imagenet_weights`, None for random weights."""

    @abstractmethod
    def loss(self, settings: S) -> Loss:
        """Return the loss of a batch of `TrainingTiles`."""

    @abstractmethod
    def tensors(self, tile: KnownTile) -> dict[str, Tensor]:
        """Return the targets of a training tile."""

    @abstractmethod
    def shipped(self, network: nn.Module) -> nn.Module:
        """Return the network in the form of an engine: uint8 tiles in, the task's one output."""

    @abstractmethod
    def answers(self, network: nn.Module, tiles: Sequence[KnownTile]) -> A:
        """Run the network on tiles."""

    @abstractmethod
    def thresholds(self, answers: A, taxonomy: Taxonomy) -> dict[str, float]:
        """Choose the manifest's thresholds."""

    @abstractmethod
    def evaluate(self, answers: A, thresholds: Mapping[str, float], taxonomy: Taxonomy) -> dict[str, float]:
        """Return the metrics by the names that the manifest and the card use."""

    @abstractmethod
    def classes(self, taxonomy: Taxonomy) -> tuple[str, ...]:
        """Return the manifest's classes."""

    @abstractmethod
    def card(self, facts: EngineFacts, calibration: Mapping[str, float], settings: S) -> str:
        """Return the model card; `calibration` holds the metrics on the folds where the thresholds were chosen."""

    def fit(
        self, specimens: Sequence[Specimen], taxonomy: Taxonomy, settings: S, weights: Path | None, run: Path
    ) -> nn.Module:
        """Fit a network to all usable specimens, with checkpoints in the folder `run`."""
        maker = TileMaker(
            load_frames(specimens, taxonomy),
            load_patches(specimens, taxonomy, outlined=self.outlined),
            settings.patch_share,
            settings.clean_share,
            rendered_frames(RENDERED_TRAINING_SEEDS, taxonomy) if settings.rendered_share else [],
            settings.rendered_share,
            settings.plain_share,
        )
        network = seeded(lambda: self.network(settings, taxonomy, weights), settings)
        return fit(network, self.loss(settings), TrainingTiles(maker, settings, self.tensors), settings, run)

    def test_tiles(self, specimens: Sequence[Specimen], taxonomy: Taxonomy) -> list[KnownTile]:
        """Return the tiles to evaluate on: the grid of each frame, and each patch enlarged to a tile."""
        frames = [tile for frame in load_frames(specimens, taxonomy) for tile in frame.grid()]
        return frames + [patch.whole() for patch in load_patches(specimens, taxonomy, outlined=self.outlined)]

    def make_engine(
        self,
        *,
        specimens: Sequence[Specimen],
        taxonomy: Taxonomy,
        weights: Path | None,
        out: Path,
        settings: S,
        run: Path,
    ) -> None:
        """Fit, choose thresholds, evaluate and write the engine folder `out`; checkpoints lie in the folder `run`."""
        parts = []
        for fold in settings.calibration_folds:
            seen = [one for one in specimens if one.fold in TRAINED_FOLDS and one.fold != fold]
            network = self.fit(seen, taxonomy, settings, weights, run / f"without-{fold}")
            unseen = self.test_tiles([one for one in specimens if one.fold == fold], taxonomy)
            parts.append(self.answers(network, unseen))
        calibration = joined(parts)
        thresholds = self.thresholds(calibration, taxonomy)

        seen = [one for one in specimens if one.fold in TRAINED_FOLDS]
        network = self.fit(seen, taxonomy, settings, weights, run / "shipped")
        held_out = self.test_tiles([one for one in specimens if one.fold == HELD_OUT_FOLD], taxonomy)
        if settings.rendered_share:
            held_out += [tile for frame in rendered_frames(RENDERED_TEST_SEEDS, taxonomy) for tile in frame.grid()]
        facts = EngineFacts(
            name=out.name,
            version=self.version,
            task=self.task,
            nominal_mm_per_px=UNKNOWN_SCALE_MM_PER_PX,
            normalisation=NORMALISATION,
            classes=self.classes(taxonomy),
            thresholds=thresholds,
            training=self._record(seen, settings),
            metrics=self.evaluate(self.answers(network, held_out), thresholds, taxonomy),
            terms=TERMS,
        )
        card = self.card(facts, self.evaluate(calibration, thresholds, taxonomy), settings)
        examples = np.stack([tile.image for tile in held_out[:: max(len(held_out) // 16, 1)]])[:, None]
        export_engine(self.shipped(network), facts, card, examples, out)

    def train(self, data: Path, out: Path, settings: S, run: Path) -> None:
        """Call `make_engine` with a folder that holds the sets and `imagenet_weights`."""
        self.make_engine(
            specimens=[one for name in HOUSE_SETS for one in read_set(name, data)],
            taxonomy=Taxonomy.read(),
            weights=data / "imagenet_weights",
            out=out,
            settings=settings,
            run=run,
        )

    def _record(self, seen: Sequence[Specimen], settings: S) -> TrainingRecord:
        kinds = {Knowledge.OUTLINED} if self.outlined else {Knowledge.OUTLINED, Knowledge.LABELLED}
        used = [one.data_set for one in seen if one.knowledge in kinds]
        return TrainingRecord(
            recipe=f"linewatch train {self.task} {settings.model_dump_json()}",
            encoder=f"{settings.encoder}, ImageNet",
            seed=settings.seed,
            data=tuple(
                TrainingSource(name=full, part="folds 0-3", count=used.count(name))
                for name, full in self.sources.items()
            ),
            split=SPLIT,
        )


def joined(parts: Sequence[Any]) -> Any:
    """Join dataclasses of arrays along the first axis."""
    first = parts[0]
    names = [field.name for field in fields(first)]
    return type(first)(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def with_interval(metrics: Mapping[str, float], name: str) -> str:
    """Return the metric with its interval as the cards print it; `-` for none."""
    if name not in metrics:
        return "-"
    low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
    return f"{metrics[name]:.3f}" + (f" ({low:.3f}-{high:.3f})" if low is not None and high is not None else "")


def data_and_folds(facts: EngineFacts, settings: TileSettings) -> tuple[str, str]:
    """Return the training data and the calibration folds as the cards print them."""
    data = ", ".join(f"{source.name} {source.count} ({source.part})" for source in facts.training.data)
    return data, ", ".join(str(fold) for fold in settings.calibration_folds)
