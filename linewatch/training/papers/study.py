"""The common part of the papers' protocols: settings, parts of the data, and the interface `Study`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

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
from linewatch.metrics.curves import DEFAULT_THRESHOLD
from linewatch.metrics.result import EvaluationResult
from linewatch.networks.pretrained import Source
from linewatch.networks.registry import NETWORKS
from linewatch.training.fit import Phase, TrainingSettings
from linewatch.training.samples.augmentation import Augmentation

_HELD_IN_MEMORY = 6000


class PaperSettings(TrainingSettings):
    """Settings of a paper's protocol."""

    network: str
    epochs: PositiveInt
    rate: float = Field(gt=0)
    lines: PositiveInt
    width: PositiveInt
    shares: tuple[float, float, float] = Field(description="training, validation, test")
    split: Literal["grouped", "random"] = Field(
        default="grouped", description="grouped: images of the same steel stay together; random: as the papers split"
    )
    training_share: float = Field(default=1.0, gt=0, le=1, description="share of the training part that is used")
    validation_share: float = Field(
        default=0.1, gt=0, lt=1, description="share of the training part, in a cross-validation"
    )

    def build(self, classes: int, source: Source, **options: Any) -> nn.Module:
        """Build the network, with weights of the seed or of `source`; `ConfigError` for a wrong name or size."""
        if self.network not in NETWORKS:
            raise ConfigError(f"network is {self.network!r}, expected one of {', '.join(NETWORKS)}")
        spec = NETWORKS[self.network]
        if spec.fixed_size and (self.lines, self.width) != (spec.lines, spec.width):
            raise ConfigError(
                f"lines x width is {self.lines} x {self.width}, {self.network} takes {spec.lines} x {spec.width} only; "
                "set these, or another network"
            )
        torch.manual_seed(self.seed)
        return spec.build(classes=classes, weights=source, **options)


@dataclass(frozen=True)
class Parts:
    """The specimens to train on, to choose epoch and thresholds by, and to evaluate on."""

    training: tuple[Specimen, ...]
    validation: tuple[Specimen, ...]
    test: tuple[Specimen, ...]


def parts_of(data_set: DataSet, split: Split, settings: PaperSettings) -> Parts:
    """Divide the set by `settings.shares`; groups stay whole unless `settings.split` is random."""
    divide = fractions if settings.split == "grouped" else random_fractions
    training, validation, test = divide(data_set, split, settings.shares, settings.seed)
    return Parts(_thinned(training, settings), tuple(validation), tuple(test))


def folded_parts(data_set: DataSet, split: Split, settings: PaperSettings, folds: int) -> list[Parts]:
    """Return the parts of a cross-validation: each fold is the test part once, a share of the rest is validation."""
    found = []
    for rest, test in k_folds(data_set, split, folds, settings.seed):
        inner = DataSet(data_set.name, data_set.root, data_set.labels, tuple(rest))
        training, validation, _ = fractions(
            inner, split, (1 - settings.validation_share, settings.validation_share, 0.0), settings.seed
        )
        found.append(Parts(_thinned(training, settings), tuple(validation), tuple(test)))
    return found


def _thinned(training: Sequence[Specimen], settings: PaperSettings) -> tuple[Specimen, ...]:
    """Keep `training_share` of the specimens of each combination of labels."""
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


class ResizedImages:
    """The images of specimens at one size, uint8 (lines, width); up to 6,000 are kept in memory."""

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
    """Return `gray` at `size` (width, lines), by area averages where it shrinks and bilinearly where it grows."""
    if gray.shape[::-1] == size:
        return gray
    how = cv2.INTER_AREA if gray.shape[1] > size[0] else cv2.INTER_LINEAR
    return cv2.resize(gray, size, interpolation=how).astype(np.uint8, copy=False)


class LabelledImages(Dataset[dict[str, Tensor]]):
    """Images with a target each: augmented by (epoch, index) for training, plain by index for validation."""

    def __init__(
        self, images: ResizedImages, targets: NDArray[Any], seed: int, augmentation: Augmentation | None = None
    ):
        self.images, self.targets, self.seed, self.augmentation = images, targets, seed, augmentation

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, which: int | tuple[int, int]) -> dict[str, Tensor]:
        epoch, index = which if isinstance(which, tuple) else (0, which)
        gray = self.images[index]
        if self.augmentation is not None:
            gray, _ = self.augmentation(gray, np.random.default_rng((self.seed, epoch, index)))
        return {"image": torch.from_numpy(gray)[None], "target": torch.as_tensor(self.targets[index])}


@dataclass(frozen=True)
class HeldOutPart:
    """A fitted network, its thresholds, and specimens that it has not seen, to evaluate it on."""

    network: nn.Module
    thresholds: Mapping[str, float]
    specimens: Sequence[Specimen]


S = TypeVar("S", bound=PaperSettings)


class Study(ABC, Generic[S]):
    """A paper's protocol on one data set, whose labels are the classes."""

    task: ClassVar[Task]

    def __init__(self, settings: S, data_set: DataSet):
        self.settings, self.classes = settings, data_set.labels

    def usable(self, specimens: Sequence[Specimen]) -> Sequence[Specimen]:
        """Return the specimens that the protocol can use."""
        return specimens

    def network(self, source: Source) -> nn.Module:
        """Return the network to train."""
        return self.settings.build(len(self.classes), source)

    def phases(self) -> Sequence[Phase]:
        """Return the phases of the training: here one, with Adam at a constant rate."""
        return [adam_phase(self.settings)]

    @abstractmethod
    def training(self, specimens: Sequence[Specimen]) -> Dataset:
        """Return the training items, by (epoch, index)."""

    @abstractmethod
    def validation(self, specimens: Sequence[Specimen]) -> Dataset:
        """Return the validation items, by index."""

    @abstractmethod
    def loss(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Return the loss of a batch, a scalar."""

    @abstractmethod
    def score(self, network: nn.Module, batch: dict[str, Tensor]) -> Mapping[str, Tensor]:
        """Return metrics of a validation batch, beside its loss."""

    @abstractmethod
    def shipped(self, network: nn.Module) -> nn.Module:
        """Return the network in the form of an engine: uint8 in, the task's one output."""

    def thresholds(self, network: nn.Module, specimens: Sequence[Specimen]) -> dict[str, float]:
        """Return the manifest's thresholds, chosen on the validation part: here 0.5 for each class."""
        return dict.fromkeys(self.classes, DEFAULT_THRESHOLD)

    @abstractmethod
    def evaluate(self, parts: Sequence[HeldOutPart], plots: Path | None) -> EvaluationResult:
        """Return the paper's metrics over the held-out parts of all folds; draw its plots into the folder `plots`."""


def adam_phase(settings: PaperSettings, betas: tuple[float, float] = (0.9, 0.999), **options: Any) -> Phase:
    """Return the phase `fit` with Adam at the settings' rate."""
    return Phase(
        name="fit",
        epochs=settings.epochs,
        optimizer=lambda weights: torch.optim.Adam(weights, settings.rate, betas),
        **options,
    )
