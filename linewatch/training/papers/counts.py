"""Counting the defects of each class in a mosaic of four samples: the multi-label protocol of Dorzhiev & Feiler.

Their NEU_DET New has 1,294 images, each of four NEU samples, labelled with a vector of counts such as [2, 1, 1, 0, 0,
0]. The images are not published; here they are made anew. The paper notes that its parts "do not contain any matching
labels", so each of the 126 vectors of four samples of six classes belongs to one part only, and so does each sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.utils.data import Dataset

from linewatch.contracts.manifest import Task
from linewatch.datasets import DataSet, DatasetError, Specimen
from linewatch.datasets.check import require_choice
from linewatch.metrics import counts
from linewatch.metrics.result import EvaluationResult
from linewatch.networks.shipped import Presence
from linewatch.training.fit import Phase
from linewatch.training.losses import counts_loss
from linewatch.training.papers.study import HeldOutPart, PaperSettings, Study, adam_phase, resized
from linewatch.training.predictor import scores_of
from linewatch.training.samples.augmentation import Augmentation

SAMPLES = 4
Part = Literal["training", "validation", "test"]


class CountsSettings(PaperSettings):
    """The paper's settings: 80/20, batch 50, Adam 1e-4, 40 epochs, MSE, rounded outputs.

    Of the 80 %, an eighth of the vectors is for validation. `rotation` turns whole mosaics by right angles; the paper's
    91 % is VGG16 without rotation.
    """

    network: str = "vgg16"
    lines: PositiveInt = 200
    width: PositiveInt = 200
    epochs: PositiveInt = 40
    batch: PositiveInt = 50
    rate: PositiveFloat = 1e-4
    shares: tuple[float, float, float] = (0.7, 0.1, 0.2)
    mosaics: PositiveInt = Field(default=1294, description="of all parts together")
    rotation: bool = True
    trunk: Literal["free", "frozen"] = "free"


class Mosaics(Dataset[dict[str, Tensor]]):
    """Mosaics of two by two samples, uint8 (1, lines, width), with their counts, float32 (classes,).

    A mosaic depends on the seed and its number alone.
    """

    def __init__(self, study: Counts, specimens: Sequence[Specimen], part: Part, turned: bool = False):
        settings = study.settings
        self.settings, self.turned = settings, turned
        self.vectors = study.vectors(part)
        size = (settings.width // 2, settings.lines // 2)
        self.samples = [
            [resized(one.gray(), size) for one in specimens if one.labels[0] == label] for label in study.classes
        ]
        share = dict(zip(("training", "validation", "test"), settings.shares, strict=True))[part]
        self.count = max(round(settings.mosaics * share), 1)
        empty = [label for label, samples in zip(study.classes, self.samples, strict=True) if not samples]
        if empty:
            raise DatasetError(f"no {', '.join(empty)} in the {part} part, which its mosaics need; take a larger set")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, which: int | tuple[int, int]) -> dict[str, Tensor]:
        epoch, index = which if isinstance(which, tuple) else (0, which)
        mosaic, vector = self.mosaic(index)
        if self.turned:
            rng = np.random.default_rng((self.settings.seed, epoch, index))
            mosaic, _ = Augmentation(right_angles=True)(mosaic, rng)
        return {"image": torch.from_numpy(mosaic)[None], "target": torch.from_numpy(vector.astype(np.float32))}

    def mosaic(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return mosaic `index` and its counts: vectors in turn, samples and their places at random."""
        rng = np.random.default_rng((self.settings.seed, len(self.vectors), index))
        vector = self.vectors[index % len(self.vectors)]
        classes = rng.permutation(np.repeat(np.arange(len(vector)), vector))
        a, b, c, d = (self.samples[k][int(rng.integers(len(self.samples[k])))] for k in classes)
        mosaic = np.vstack([np.hstack([a, b]), np.hstack([c, d])])
        return resized(np.ascontiguousarray(mosaic), (self.settings.width, self.settings.lines)), vector


class Counts(Study[CountsSettings]):
    """The study. Its engine scores presence: counts clipped to [0, 1] and called from 0.5 on, as rounding does."""

    task = Task.CLASSIFY

    def __init__(self, settings: CountsSettings, data_set: DataSet):
        super().__init__(settings, data_set)
        if data_set.specimens:
            require_choice(data_set.name, data_set.labels, data_set.specimens)

    def vectors(self, part: Part) -> list[NDArray[np.int64]]:
        """Return the part's vectors of counts; no vector is in two parts."""
        classes = len(self.classes)
        every = [
            np.bincount(four, minlength=classes) for four in combinations_with_replacement(range(classes), SAMPLES)
        ]
        order = np.random.default_rng(self.settings.seed).permutation(len(every))
        first, second, _ = (round(share * len(every)) for share in self.settings.shares)
        at = {"training": order[:first], "validation": order[first : first + second], "test": order[first + second :]}
        return [every[index] for index in at[part]]

    def phases(self) -> Sequence[Phase]:
        return [adam_phase(self.settings, trunk_frozen=self.settings.trunk == "frozen")]

    def training(self, specimens: Sequence[Specimen]) -> Dataset:
        return Mosaics(self, specimens, "training", turned=self.settings.rotation)

    def validation(self, specimens: Sequence[Specimen]) -> Dataset:
        return Mosaics(self, specimens, "validation")

    def loss(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return counts_loss(network(batch["image"]), batch["target"])

    def score(self, network: nn.Module, batch: dict[str, Tensor]) -> Mapping[str, Tensor]:
        return {"count_exact": (network(batch["image"]).round() == batch["target"]).all(1).float().mean()}

    def shipped(self, network: nn.Module) -> nn.Module:
        return Presence(network)

    def evaluate(self, parts: Sequence[HeldOutPart], plots: Path | None) -> EvaluationResult:
        """Evaluate on the mosaics of the test vectors."""
        outputs, truths = [], []
        for one in parts:
            mosaics = Mosaics(self, one.specimens, "test")
            made = [mosaics.mosaic(index) for index in range(len(mosaics))]
            outputs.append(scores_of(one.network, [mosaic for mosaic, _ in made]))
            truths += [vector for _, vector in made]
        truth = np.stack(truths)
        groups = ["".join(map(str, row)) for row in truth]
        return counts.evaluate(np.concatenate(outputs), truth, self.classes, groups)
