"""One label per image: the protocols of Dorzhiev & Feiler, Apostolopoulos & Tzani, and Kateb et al.

Some papers stop training by the images that they evaluate on; here a validation part of the training part serves for
that, so that the test part chooses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from linewatch.contracts.manifest import Task
from linewatch.datasets import DataSet, Specimen
from linewatch.datasets.check import require_choice
from linewatch.metrics import labels
from linewatch.metrics.plots import NothingToDraw, confusion, pr_and_roc
from linewatch.metrics.result import EvaluationResult
from linewatch.networks.pretrained import Source
from linewatch.networks.shipped import Softmax
from linewatch.training.fit import Phase
from linewatch.training.papers.study import HeldOutPart, LabelledImages, PaperSettings, ResizedImages, Study, adam_phase
from linewatch.training.predictor import scores_of
from linewatch.training.samples.augmentation import Augmentation


class SingleLabelSettings(PaperSettings):
    """Settings of a single-label protocol.

    The defaults are custom_cnn's: 70/30, batch 50, Adam 1e-4, turns by 90 degrees, 100 epochs; a tenth of the 70 % is
    for validation.
    """

    network: str = "custom_cnn"
    lines: PositiveInt = 200
    width: PositiveInt = 200
    epochs: PositiveInt = 100
    batch: PositiveInt = 50
    rate: PositiveFloat = 1e-4
    shares: tuple[float, float, float] = (0.63, 0.07, 0.30)
    enough: float | None = Field(default=None, description="stop at this validation accuracy")
    patience: int | None = None
    trunk: Literal["free", "frozen"] = "free"
    right_angles: bool = True
    turn_deg: float = 0.0
    shift: float = 0.0
    flips: bool = False
    noise: float = 0.0

    def augmentation(self) -> Augmentation:
        return Augmentation(
            right_angles=self.right_angles,
            turn_deg=self.turn_deg,
            shift=self.shift,
            flip_across=self.flips,
            flip_along=self.flips,
            noise=self.noise,
        )

    def phases(self) -> list[Phase]:
        return [
            adam_phase(
                self,
                trunk_frozen=self.trunk == "frozen",
                patience=self.patience,
                monitor="val_top1",
                rising=True,
                enough=self.enough,
            )
        ]

    def options(self) -> dict[str, Any]:
        """Return the options of the network, beside its classes."""
        return {}


class NasnetSettings(SingleLabelSettings):
    """Settings of Kateb et al., Table 2.

    A frozen phase with Adam, whose rate falls by 4 on a plateau of 3 epochs, then all layers with Adamax under
    exponential decay; the best weights are restored. The table's rate after the frozen phase, 0.1 falling to 0.01,
    would move every ImageNet weight by up to 0.1 a step under Adamax, more than the weights' own spread; the default
    here is a hundredth of it (`--set fine_rate=0.1 fine_least_rate=0.01` is the table's). Its "6 steps an epoch" leaves
    the batch open: 1,440 images in 6 steps are batches of 240, Keras' default batch is 32; here an epoch is every
    training image once.
    """

    network: str = "nasnet_mobile"
    lines: PositiveInt = 224
    width: PositiveInt = 224
    epochs: PositiveInt = 20
    batch: PositiveInt = 32
    rate: PositiveFloat = 0.01
    shares: tuple[float, float, float] = (0.64, 0.16, 0.20)
    trunk: Literal["free", "frozen"] = "frozen"
    patience: int | None = 10
    right_angles: bool = False
    rotations_deg: tuple[float, ...] = (0.0, 45.0, 90.0, 180.0)
    shear: float = 0.2
    zoom: float = 0.2
    activation: Literal["elu", "relu", "sigmoid", "tanh"] = "elu"
    fine_optimizer: Literal["adamax", "adam"] = "adamax"
    fine_epochs: int = Field(default=100, ge=0)
    fine_rate: float = Field(default=1e-3, gt=0)
    fine_least_rate: float = Field(default=1e-4, gt=0)
    fine_decay: float = Field(default=0.5, gt=0, lt=1)
    fine_decay_epochs: int = 20

    def augmentation(self) -> Augmentation:
        return Augmentation(rotations_deg=self.rotations_deg, shear=self.shear, zoom=self.zoom, flip_across=True)

    def phases(self) -> list[Phase]:
        frozen = Phase(
            name="frozen",
            epochs=self.epochs,
            optimizer=lambda weights: torch.optim.Adam(weights, self.rate),
            schedule=lambda optimizer: torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, factor=0.25, patience=3, min_lr=1e-8
            ),
            trunk_frozen=self.trunk == "frozen",
            patience=self.patience,
            min_delta=0.005,
        )
        kind = {"adamax": torch.optim.Adamax, "adam": torch.optim.Adam}[self.fine_optimizer]
        floor = self.fine_least_rate / self.fine_rate
        fine = Phase(
            name="fine",
            epochs=self.fine_epochs,
            optimizer=lambda weights: kind(weights, self.fine_rate),
            schedule=lambda optimizer: torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda epoch: max((1 - self.fine_decay) ** (epoch / self.fine_decay_epochs), floor)
            ),
            patience=self.patience,
        )
        return [frozen, fine] if self.fine_epochs else [frozen]

    def options(self) -> dict[str, Any]:
        return {"activation": self.activation}


class SingleLabel(Study[SingleLabelSettings]):
    """The study: cross-entropy over the set's labels; an image's first label is its own."""

    task = Task.CLASSIFY

    def __init__(self, settings: SingleLabelSettings, data_set: DataSet):
        super().__init__(settings, data_set)
        if data_set.specimens:
            require_choice(data_set.name, data_set.labels, data_set.specimens)
        self._number = {label: number for number, label in enumerate(data_set.labels)}

    def network(self, source: Source) -> nn.Module:
        return self.settings.build(len(self.classes), source, **self.settings.options())

    def phases(self) -> Sequence[Phase]:
        return self.settings.phases()

    def training(self, specimens: Sequence[Specimen]) -> Dataset:
        return LabelledImages(
            self._images(specimens), self.truth(specimens), self.settings.seed, self.settings.augmentation()
        )

    def validation(self, specimens: Sequence[Specimen]) -> Dataset:
        return LabelledImages(self._images(specimens), self.truth(specimens), self.settings.seed)

    def loss(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(network(batch["image"]), batch["target"])

    def score(self, network: nn.Module, batch: dict[str, Tensor]) -> Mapping[str, Tensor]:
        return {"top1": (network(batch["image"]).argmax(1) == batch["target"]).float().mean()}

    def shipped(self, network: nn.Module) -> nn.Module:
        return Softmax(network)

    def evaluate(self, parts: Sequence[HeldOutPart], plots: Path | None) -> EvaluationResult:
        scores = np.concatenate([scores_of(self.shipped(one.network), self._images(one.specimens)) for one in parts])
        specimens = [specimen for one in parts for specimen in one.specimens]
        truth = self.truth(specimens)
        found = labels.evaluate(scores, truth, self.classes, [specimen.file for specimen in specimens])
        if plots is not None and found.confusion is not None:
            confusion(found.confusion, self.classes, plots / "confusion.png")
            with suppress(NothingToDraw):
                pr_and_roc(scores, truth[:, None] == np.arange(len(self.classes)), self.classes, plots / "pr_roc.png")
        return found

    def truth(self, specimens: Sequence[Specimen]) -> np.ndarray:
        return np.array([self._number[specimen.labels[0]] for specimen in specimens], np.int64)

    def _images(self, specimens: Sequence[Specimen]) -> ResizedImages:
        return ResizedImages(specimens, self.settings.lines, self.settings.width)
