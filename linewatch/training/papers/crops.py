"""Several labels per crop of strip: the protocol of Konovalenko et al. (ResNet on 256 x 256 crops of 256 x 1600).

Their three classes are I, small round spots; II, lines, scratches and abrasions; III, rolling films that look torn. Of
Kaggle's four classes, 1 is small spots, 3 scratches and abrasions, 4 torn or rolled-over patches, and 2 thin marks
along the strip near its edge. The default joins 2 to 3, since the paper counts every line in II; `classes` can differ,
for example "1,2,3,4". The paper's counts (1,919, 6,667 and 6,238 images of 14,830) do not match Kaggle's (897, 247,
5,150 and 801 of 12,568) under any mapping: its experts labelled the images anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.utils.data import Dataset

from linewatch.contracts.errors import ConfigError
from linewatch.contracts.manifest import Task
from linewatch.datasets import DataSet, Specimen
from linewatch.metrics import multi_label
from linewatch.metrics.plots import (
    CalledImage,
    FeatureMaps,
    NothingToDraw,
    confusion,
    feature_maps,
    gallery,
    pr_and_roc,
    threshold_curves,
)
from linewatch.metrics.result import EvaluationResult
from linewatch.metrics.tiles import steel_columns
from linewatch.networks.paper import PaperNetwork
from linewatch.networks.shipped import Sigmoid
from linewatch.training.losses import focal_loss
from linewatch.training.papers.joint import outlined
from linewatch.training.papers.study import HeldOutPart, PaperSettings, Study, resized
from linewatch.training.predictor import scores_of
from linewatch.training.samples.augmentation import Augmentation

_GALLERY = 24


class CropsSettings(PaperSettings):
    """The paper's settings: crops, flips, right angles, focal loss, and 10,482 / 2,790 / 1,558 images.

    The paper does not give optimizer, rate, batch and epochs.
    """

    network: str = "resnet34"
    lines: PositiveInt = 256
    width: PositiveInt = 256
    crop_px: PositiveInt = Field(default=256, description="side of a crop in the frame; scaled to lines x width")
    epochs: PositiveInt = 30
    batch: PositiveInt = 16
    rate: PositiveFloat = 1e-4
    shares: tuple[float, float, float] = (0.707, 0.188, 0.105)
    classes: tuple[str, ...] = Field(default=("1", "2+3", "4"), description="the set's labels that make up each class")
    gamma: float = Field(default=2.0, ge=0)
    alpha: float = Field(default=0.25, ge=0, le=1)
    aimed: float = Field(
        default=0.5, ge=0, le=1, description="share of crops placed around a defect; the paper's are all random: 0"
    )
    crops_per_frame: PositiveInt = Field(
        default=10, description="of a test frame, as in the paper, and of a training frame per epoch"
    )
    present_px: PositiveInt = Field(default=64, description="a class is present in a crop from this many pixels on")


class Crops(Study[CropsSettings]):
    """The study."""

    task = Task.CLASSIFY

    def __init__(self, settings: CropsSettings, data_set: DataSet):
        super().__init__(settings, data_set)
        self.members = [frozenset(one.split("+")) for one in settings.classes]
        unknown = sorted(set().union(*self.members) - set(data_set.labels)) if data_set.specimens else []
        if unknown:
            raise ConfigError(
                f"classes names {', '.join(unknown)}, expected labels of {data_set.name}: {', '.join(data_set.labels)}"
            )
        self.classes = settings.classes

    def usable(self, specimens: Sequence[Specimen]) -> Sequence[Specimen]:
        return outlined(specimens)

    def training(self, specimens: Sequence[Specimen]) -> Dataset:
        return RandomCrops(self, specimens, Augmentation(right_angles=True, flip_across=True, flip_along=True))

    def validation(self, specimens: Sequence[Specimen]) -> Dataset:
        return RandomCrops(self, specimens)

    def loss(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return focal_loss(network(batch["image"]), batch["target"], self.settings.gamma, self.settings.alpha)

    def score(self, network: nn.Module, batch: dict[str, Tensor]) -> Mapping[str, Tensor]:
        return {"accuracy": ((network(batch["image"]) > 0) == (batch["target"] > 0)).float().mean()}

    def shipped(self, network: nn.Module) -> nn.Module:
        return Sigmoid(network)

    def thresholds(self, network: nn.Module, specimens: Sequence[Specimen]) -> dict[str, float]:
        """Return the threshold of the best F1 per class on the validation crops."""
        crops = RandomCrops(self, specimens)
        found = multi_label.thresholds_by_f1(scores_of(self.shipped(network), crops.images()), crops.truth() > 0)
        return {name: float(value) for name, value in zip(self.classes, found, strict=True)}

    def evaluate(self, parts: Sequence[HeldOutPart], plots: Path | None) -> EvaluationResult:
        """Evaluate on ten random crops of every frame; scores of folds are rescaled by their thresholds."""
        tests = [(one, RandomCrops(self, one.specimens, aimed=0.0)) for one in parts]
        scores = np.concatenate([scores_of(self.shipped(one.network), crops.images()) for one, crops in tests])
        limits = np.concatenate(
            [np.tile([one.thresholds[name] for name in self.classes], (len(crops), 1)) for one, crops in tests]
        )
        truth = np.concatenate([crops.truth() for _, crops in tests]) > 0
        files = [file for _, crops in tests for file in crops.files()]
        thresholds = limits[0]
        if len(parts) > 1:
            scores, thresholds = rescaled(scores, limits), np.full(len(self.classes), 0.5)
        found = multi_label.evaluate(scores, truth, self.classes, thresholds, files)
        if plots is not None:
            self._draw(found, scores, truth, thresholds, [crops for _, crops in tests], plots)
            self._draw_depths(parts[0].network, tests[0][1], plots)
        return found

    def _draw(
        self,
        found: EvaluationResult,
        scores: NDArray,
        truth: NDArray,
        thresholds: NDArray,
        crops: Sequence[RandomCrops],
        plots: Path,
    ) -> None:
        """Draw curves, the 4-way confusion matrix, and a gallery of wrong calls (section 6 of the paper)."""
        with suppress(NothingToDraw):
            pr_and_roc(scores, truth, self.classes, plots / "pr_roc.png")
        threshold_curves(scores, truth, self.classes, thresholds, plots / "thresholds.png")
        if found.confusion is not None and found.confusion_classes is not None:
            confusion(found.confusion, found.confusion_classes, plots / "confusion.png")
        images = [image for part in crops for image in part.images()]
        called = scores >= thresholds
        wrong = np.flatnonzero((called != truth).any(axis=1))
        if len(wrong):
            kept = wrong[np.linspace(0, len(wrong) - 1, min(len(wrong), _GALLERY)).astype(int)]
            gallery(
                [CalledImage(images[k], self._names(truth[k]), self._names(called[k])) for k in kept],
                plots / "errors.png",
            )

    def _names(self, there: NDArray) -> str:
        return "+".join(name for name, one in zip(self.classes, there, strict=True) if one) or "defect-free"

    @torch.inference_mode()
    def _draw_depths(self, network: nn.Module, crops: RandomCrops, plots: Path) -> None:
        """Draw the feature maps of the most defective crop at each depth (section 5 of the paper)."""
        truth = crops.truth()
        index = int(np.argmax(truth.sum(axis=1)))
        gray, maps = crops.images()[index], []
        hooks = [
            module.register_forward_hook(
                lambda _, __, out, name=name: maps.append(FeatureMaps(name, out[0].float().numpy()))
            )
            for name, module in (network.stages() if isinstance(network, PaperNetwork) else {}).items()
        ]
        network(torch.from_numpy(gray)[None, None])
        for hook in hooks:
            hook.remove()
        if maps:
            feature_maps(gray, maps, plots / "depths.png")

    def shown(self, mask: NDArray[np.uint8], labels: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 (classes,): 1 for the classes that a mask of the set's labels shows."""
        area = np.bincount(mask.ravel(), minlength=len(labels) + 1)[1:]
        present = {label for label, px in zip(labels, area, strict=False) if px >= self.settings.present_px}
        return np.array([bool(present & members) for members in self.members], np.float32)


def rescaled(scores: NDArray, limits: NDArray) -> NDArray:
    """Rescale scores in [0, 1] so that each one's own limit comes to lie at 0.5; order within a limit is kept."""
    limits = np.clip(limits, 1e-6, 1 - 1e-6)
    return np.where(scores < limits, 0.5 * scores / limits, 0.5 + 0.5 * (scores - limits) / (1 - limits))


class RandomCrops(Dataset[dict[str, Tensor]]):
    """`crops_per_frame` random crops of each outlined frame, on the steel; for training, new ones each epoch."""

    def __init__(
        self,
        study: Crops,
        specimens: Sequence[Specimen],
        augmentation: Augmentation | None = None,
        aimed: float | None = None,
    ):
        self.study, self.augmentation = study, augmentation
        self.aimed = study.settings.aimed if aimed is None else aimed
        self.frames = [(one.file, one.gray(), one.mask(), one.mask_labels) for one in outlined(specimens)]

    def __len__(self) -> int:
        return len(self.frames) * self.study.settings.crops_per_frame

    def __getitem__(self, which: int | tuple[int, int]) -> dict[str, Tensor]:
        epoch, index = which if isinstance(which, tuple) else (0, which)
        gray, mask, labels = self.crop(index, epoch)
        if self.augmentation is not None:
            rng = np.random.default_rng((self.study.settings.seed, 1, epoch, index))
            gray, mask = self.augmentation(gray, rng, mask)
        return {
            "image": torch.from_numpy(self._sized(gray))[None],
            "target": torch.from_numpy(self.study.shown(mask, labels)),
        }

    def crop(self, index: int, epoch: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[str, ...]]:
        """Return pixels, mask and the mask's labels of crop `index`."""
        settings = self.study.settings
        _, gray, mask, labels = self.frames[index // settings.crops_per_frame]
        rng = np.random.default_rng((settings.seed, 0, epoch, index))
        lines, width = gray.shape
        side = min(settings.crop_px, lines, width)
        defect, steel = np.flatnonzero(mask.any(0)), np.flatnonzero(steel_columns(gray))
        aim = defect if len(defect) and rng.random() < self.aimed else steel
        middle = int(rng.choice(aim)) if len(aim) else width // 2
        x = int(np.clip(middle - rng.integers(side), 0, width - side))
        y = int(rng.integers(lines - side + 1))
        window = np.s_[y : y + side, x : x + side]
        return gray[window], mask[window], labels

    def images(self) -> list[NDArray[np.uint8]]:
        return [self._sized(self.crop(index)[0]) for index in range(len(self))]

    def truth(self) -> NDArray[np.float32]:
        return np.stack([self.study.shown(mask, labels) for _, mask, labels in map(self.crop, range(len(self)))])

    def files(self) -> list[str]:
        return [file for file, *_ in self.frames for _ in range(self.study.settings.crops_per_frame)]

    def _sized(self, gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
        size = (self.study.settings.width, self.study.settings.lines)
        return np.ascontiguousarray(resized(np.ascontiguousarray(gray), size))
