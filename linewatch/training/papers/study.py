"""What every paper's protocol has in common: its settings, its parts of the data, and the promises of a `Study`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.utils.data import Dataset

from linewatch.contracts.errors import ConfigError
from linewatch.contracts.manifest import Task
from linewatch.datasets import DataSet, Specimen
from linewatch.datasets.parts import fractions, k_folds, random_fractions
from linewatch.datasets.splits import Split
from linewatch.metrics.judgement import Judgement
from linewatch.networks.pretrained import Source
from linewatch.networks.registry import NETWORKS
from linewatch.training.fit import Phase, Settings
from linewatch.training.samples.augmentation import Augmentation

_HELD_IN_MEMORY = 6000


class PaperSettings(Settings):
    """What a paper's protocol can be set to."""

    network: str
    epochs: PositiveInt
    rate: float = Field(gt=0)
    lines: PositiveInt
    width: PositiveInt
    shares: tuple[float, float, float] = Field(description="training, validation, test")
    split: Literal["grouped", "random"] = Field(
        default="grouped", description="grouped: pictures of the same steel stay together; random: as the papers split"
    )
    training_share: float = Field(default=1.0, gt=0, le=1, description="how much of the training part is used")
    validation_share: float = Field(
        default=0.1, gt=0, lt=1, description="of the training part, where folds are the test"
    )

    def build(self, classes: int, source: Source, **options: Any) -> nn.Module:
        """The network with random weights of the seed, or those of `source`; ConfigError for an unknown name."""
        if self.network not in NETWORKS:
            raise ConfigError(f"network is {self.network!r}, expected one of {', '.join(NETWORKS)}")
        torch.manual_seed(self.seed)
        return NETWORKS[self.network].build(classes=classes, weights=source, **options)


@dataclass(frozen=True)
class Parts:
    """Which specimens are trained on, which choose epoch and threshold, which are judged."""

    training: tuple[Specimen, ...]
    validation: tuple[Specimen, ...]
    test: tuple[Specimen, ...]


def parts_of(data_set: DataSet, split: Split, settings: PaperSettings) -> Parts:
    """The parts by `settings.shares`; whole groups, unless `settings.split` is random."""
    divide = fractions if settings.split == "grouped" else random_fractions
    training, validation, test = divide(data_set, split, settings.shares, settings.seed)
    return Parts(_thinned(training, settings), tuple(validation), tuple(test))


def folded_parts(data_set: DataSet, split: Split, settings: PaperSettings, folds: int) -> list[Parts]:
    """`folds` times the parts, each fold the test once; a share of the rest is for validation."""
    found = []
    for rest, test in k_folds(data_set, split, folds, settings.seed):
        inner = DataSet(data_set.name, data_set.root, data_set.labels, tuple(rest))
        training, validation, _ = fractions(
            inner, split, (1 - settings.validation_share, settings.validation_share, 0.0), settings.seed
        )
        found.append(Parts(_thinned(training, settings), tuple(validation), tuple(test)))
    return found


def _thinned(training: Sequence[Specimen], settings: PaperSettings) -> tuple[Specimen, ...]:
    """`training_share` of each first label's specimens."""
    if settings.training_share == 1:
        return tuple(training)
    rng = np.random.default_rng(settings.seed)
    kept: list[int] = []
    by_label: dict[str, list[int]] = {}
    for index, specimen in enumerate(training):
        by_label.setdefault("+".join(specimen.labels), []).append(index)
    for members in by_label.values():
        order = rng.permutation(len(members))
        kept += [members[int(i)] for i in order[: max(round(settings.training_share * len(members)), 1)]]
    return tuple(training[index] for index in sorted(kept))


class Pictures:
    """The pictures of specimens at one size, uint8 (lines, width), kept in memory where they are not too many."""

    def __init__(self, specimens: Sequence[Specimen], lines: int, width: int):
        self.specimens, self.size = specimens, (width, lines)
        self._kept: dict[int, NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        return len(self.specimens)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        if index in self._kept:
            return self._kept[index]
        gray = resized(self.specimens[index].gray(), self.size)
        if len(self.specimens) <= _HELD_IN_MEMORY:
            self._kept[index] = gray
        return gray


def resized(gray: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """`gray` at `size` (width, lines); by areas where it shrinks, by lines between pixels where it grows."""
    if gray.shape[::-1] == size:
        return gray
    how = cv2.INTER_AREA if gray.shape[1] > size[0] else cv2.INTER_LINEAR
    return cv2.resize(gray, size, interpolation=how).astype(np.uint8, copy=False)


class Looks(Dataset[dict[str, Tensor]]):
    """Pictures with a target each: augmented by (epoch, index) for training, plain by index for validation."""

    def __init__(self, pictures: Pictures, targets: NDArray[Any], seed: int, augmentation: Augmentation | None = None):
        self.pictures, self.targets, self.seed, self.augmentation = pictures, targets, seed, augmentation

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, which: int | tuple[int, int]) -> dict[str, Tensor]:
        epoch, index = which if isinstance(which, tuple) else (0, which)
        gray = self.pictures[index]
        if self.augmentation is not None:
            gray, _ = self.augmentation(gray, np.random.default_rng((self.seed, epoch, index)))
        return {"image": torch.from_numpy(gray)[None], "target": torch.as_tensor(self.targets[index])}


@dataclass(frozen=True)
class Judged:
    """A fitted network, the thresholds chosen on its validation part, and specimens that it has not seen."""

    network: nn.Module
    thresholds: Mapping[str, float]
    specimens: Sequence[Specimen]


class Study(Protocol):
    """A paper's protocol on one data set; built as `study(settings, data_set)`, of which it keeps name and labels."""

    @property
    def settings(self) -> PaperSettings: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def task(self) -> Task: ...

    def usable(self, specimens: Sequence[Specimen]) -> Sequence[Specimen]:
        """Those of the specimens that the protocol can use: all, or those with outlines."""
        ...

    def network(self, source: Source) -> nn.Module:
        """The network to train."""
        ...

    def phases(self) -> Sequence[Phase]: ...

    def training(self, specimens: Sequence[Specimen]) -> Dataset:
        """Items by (epoch, index)."""
        ...

    def validation(self, specimens: Sequence[Specimen]) -> Dataset:
        """Items by index."""
        ...

    def loss(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor: ...

    def score(self, network: nn.Module, batch: dict[str, Tensor]) -> Mapping[str, Tensor]:
        """Figures of a validation batch, beside its loss."""
        ...

    def shipped(self, network: nn.Module) -> nn.Module:
        """The form that an engine has: uint8 in, the task's one output."""
        ...

    def thresholds(self, network: nn.Module, specimens: Sequence[Specimen]) -> dict[str, float]:
        """What the manifest will say, chosen on the validation part."""
        ...

    def judge(self, judged: Sequence[Judged], pictures: Path | None) -> Judgement:
        """The paper's own figures over all folds' unseen specimens together; with `pictures`, its plots and galleries
        are drawn into that folder.
        """
        ...
