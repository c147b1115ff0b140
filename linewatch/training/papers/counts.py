"""How many defects of each class a mosaic of four shows: the multi-label protocol of Dorzhiev & Feiler.

Their NEU_DET New has 1,294 pictures, each of four NEU samples, labelled with a vector of counts such as [2, 1, 1, 0, 0,
0]. Its pictures are not published with it; here it is made again. The paper notes that its parts "do not contain any
matching labels", so of the 126 vectors that four samples of six classes can have, each belongs to one part only, and
the samples of one part are in no other either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.utils.data import Dataset

from linewatch.contracts.manifest import Task
from linewatch.datasets import DataSet, DatasetError, Specimen
from linewatch.metrics import counts as judging
from linewatch.metrics.judgement import Judgement
from linewatch.networks.pretrained import Source
from linewatch.training.fit import Phase
from linewatch.training.losses import counts_loss
from linewatch.training.papers.study import Judged, PaperSettings, resized
from linewatch.training.predictor import Presence, answers
from linewatch.training.samples.augmentation import Augmentation

SAMPLES = 4
Part = Literal["training", "validation", "test"]


class CountsSettings(PaperSettings):
    """The paper's: 80/20, batch 50, Adam 1e-4, 40 epochs, MSE, outputs rounded. Of the 80 %, an eighth of the vectors
    is for validation. `rotation` turns whole mosaics by right angles; the paper's 91 % is VGG16's without.
    """

    network: str = "vgg16"
    lines: int = 200
    width: int = 200
    epochs: int = 40
    batch: int = 50
    rate: float = 1e-4
    shares: tuple[float, float, float] = (0.7, 0.1, 0.2)
    mosaics: PositiveInt = Field(default=1294, description="of all parts together")
    rotation: bool = True
    trunk: Literal["free", "frozen"] = "free"


class Mosaics(Dataset[dict[str, Tensor]]):
    """Mosaics of two by two samples, uint8 (1, lines, width), with their counts, float32 (classes,); each is a function
    of the seed and its number.
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
        mosaic, counts = self.mosaic(index)
        if self.turned:
            rng = np.random.default_rng((self.settings.seed, epoch, index))
            mosaic, _ = Augmentation(right_angles=True)(mosaic, rng)
        return {"image": torch.from_numpy(mosaic)[None], "target": torch.from_numpy(counts.astype(np.float32))}

    def mosaic(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Vectors come in turn, samples and their places at random."""
        rng = np.random.default_rng((self.settings.seed, len(self.vectors), index))
        counts = self.vectors[index % len(self.vectors)]
        classes = rng.permutation(np.repeat(np.arange(len(counts)), counts))
        a, b, c, d = (self.samples[k][int(rng.integers(len(self.samples[k])))] for k in classes)
        mosaic = np.vstack([np.hstack([a, b]), np.hstack([c, d])])
        return resized(np.ascontiguousarray(mosaic), (self.settings.width, self.settings.lines)), counts


class Counts:
    """The study. As an engine it tells presence: counts clipped to [0, 1], called from one half, as rounding does."""

    task = Task.CLASSIFY
    settings: CountsSettings

    def __init__(self, settings: CountsSettings, data_set: DataSet):
        self.settings, self.classes = settings, data_set.labels

    def vectors(self, part: Part) -> list[NDArray[np.int64]]:
        """The part's vectors of counts; no vector is in two parts."""
        classes = len(self.classes)
        every = [
            np.bincount(four, minlength=classes) for four in combinations_with_replacement(range(classes), SAMPLES)
        ]
        order = np.random.default_rng(self.settings.seed).permutation(len(every))
        first, second, _ = (round(share * len(every)) for share in self.settings.shares)
        at = {"training": order[:first], "validation": order[first : first + second], "test": order[first + second :]}
        return [every[index] for index in at[part]]

    def usable(self, specimens: Sequence[Specimen]) -> Sequence[Specimen]:
        return specimens

    def network(self, source: Source) -> nn.Module:
        return self.settings.build(len(self.classes), source)

    def phases(self) -> Sequence[Phase]:
        return [
            Phase(
                name="fit",
                epochs=self.settings.epochs,
                optimizer=lambda weights: torch.optim.Adam(weights, self.settings.rate),
                trunk_frozen=self.settings.trunk == "frozen",
            )
        ]

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

    def thresholds(self, network: nn.Module, specimens: Sequence[Specimen]) -> dict[str, float]:
        return dict.fromkeys(self.classes, 0.5)

    def judge(self, judged: Sequence[Judged], pictures: Path | None) -> Judgement:
        """Over the mosaics of the test vectors."""
        outputs, truths = [], []
        for one in judged:
            mosaics = Mosaics(self, one.specimens, "test")
            made = [mosaics.mosaic(index) for index in range(len(mosaics))]
            outputs.append(answers(_raw(one.network), [mosaic for mosaic, _ in made]))
            truths += [counts for _, counts in made]
        truth = np.stack(truths)
        return judging.judge(np.concatenate(outputs), truth, self.classes, ["".join(map(str, row)) for row in truth])


def _raw(network: nn.Module):  # type: ignore[no-untyped-def]
    def predict(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return network(torch.from_numpy(images)).numpy()

    return predict
