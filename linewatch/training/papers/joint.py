"""Segmentation and classification at once: the protocol of Damacharla et al. 2021 (TLU-Net).

Pixels and labels of an image share one encoder. The paper compares random with ImageNet weights on all and on half of
the training part: `--weights` and `--set training_share=0.5`. With one split and seed, `linewatch compare` compares two
runs image by image.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.utils.data import Dataset

from linewatch.contracts.manifest import Task
from linewatch.datasets import DataSet, DatasetError, Knowledge, Specimen
from linewatch.metrics import masks
from linewatch.metrics.result import EvaluationResult
from linewatch.networks.pretrained import Source
from linewatch.networks.shipped import PixelBytes
from linewatch.training.fit import Phase
from linewatch.training.losses import joint_loss
from linewatch.training.papers.study import HeldOutPart, PaperSettings, Study, adam_phase, resized
from linewatch.training.samples.augmentation import Augmentation

PER_IMAGE = "per_image.csv"


class JointSettings(PaperSettings):
    """The paper's: 75 / 12.5 / 12.5, Adam 5e-4 with betas (0.99, 0.99), batch 16, 10 epochs with early stopping, flips.

    Lines and width 0 take images at their own size; else they are scaled, for a small machine.
    """

    network: str = "tlu_net"
    encoder: str = "resnet18"
    lines: PositiveInt = Field(default=256, ge=0)
    width: PositiveInt = Field(default=1600, ge=0)
    epochs: PositiveInt = 10
    batch: PositiveInt = 16
    rate: PositiveFloat = 5e-4
    betas: tuple[float, float] = (0.99, 0.99)
    patience: int = 3
    shares: tuple[float, float, float] = (0.75, 0.125, 0.125)
    pixel_weight: float = Field(default=1.0, ge=0)
    threshold: float = Field(default=0.5, gt=0, lt=1)
    prior: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="probability that the untrained network gives a pixel, by its last bias (Lin et al. 2017, 3.3); "
        "0.5: the paper's. Where few pixels in a hundred are defect, a short training is spent on learning that bias",
    )


class Outlined(Dataset[dict[str, Tensor]]):
    """Images with a mask of class numbers each; augmented by (epoch, index), plain by index."""

    def __init__(self, study: Joint, specimens: Sequence[Specimen], augmentation: Augmentation | None = None):
        self.specimens, self.augmentation, self.seed = specimens, augmentation, study.settings.seed
        self.pairs = [study.image_and_mask(one) for one in specimens]
        self.classes = len(study.classes)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, which: int | tuple[int, int]) -> dict[str, Tensor]:
        epoch, index = which if isinstance(which, tuple) else (0, which)
        gray, mask = self.pairs[index]
        if self.augmentation is not None:
            gray, mask = self.augmentation(gray, np.random.default_rng((self.seed, epoch, index)), mask)
        pixels = masks.planes(mask[None], self.classes)[0]
        return {
            "image": torch.from_numpy(np.ascontiguousarray(gray))[None],
            "pixels": torch.from_numpy(pixels),
            "labels": torch.from_numpy(pixels.any((1, 2))),
        }


class Joint(Study[JointSettings]):
    """The study. The classes are those of the masks; only outlined images count."""

    task = Task.SEGMENT

    def __init__(self, settings: JointSettings, data_set: DataSet):
        super().__init__(settings, data_set)
        drawn = {label for one in data_set.specimens for label in one.mask_labels}
        self.classes = tuple(label for label in data_set.labels if label in drawn) or data_set.labels
        if data_set.specimens and not drawn:
            raise DatasetError(f"{data_set.name}: has no masks, which this protocol learns from; name a set with masks")

    def usable(self, specimens: Sequence[Specimen]) -> Sequence[Specimen]:
        return outlined(specimens)

    def network(self, source: Source) -> nn.Module:
        network = self.settings.build(len(self.classes), source, encoder=self.settings.encoder)
        if self.settings.prior != 0.5:
            assert isinstance(network.head, nn.Conv2d)
            assert network.head.bias is not None
            nn.init.constant_(network.head.bias, math.log(self.settings.prior / (1 - self.settings.prior)))
        return network

    def phases(self) -> Sequence[Phase]:
        return [adam_phase(self.settings, self.settings.betas, patience=self.settings.patience)]

    def training(self, specimens: Sequence[Specimen]) -> Dataset:
        return Outlined(self, outlined(specimens), Augmentation(flip_across=True, flip_along=True))

    def validation(self, specimens: Sequence[Specimen]) -> Dataset:
        return Outlined(self, outlined(specimens))

    def loss(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        logits = network(batch["image"])
        return joint_loss(
            logits.pixels, logits.labels, batch["pixels"], batch["labels"], pixel_weight=self.settings.pixel_weight
        )

    def score(self, network: nn.Module, batch: dict[str, Tensor]) -> Mapping[str, Tensor]:
        logits = network(batch["image"])
        areas = masks.MaskAreas.of(logits.pixels.sigmoid().numpy(force=True), batch["pixels"].numpy(force=True), 0.5)
        dice = areas.image_dice()
        correct = ((logits.labels > 0) == batch["labels"]).float().mean()
        return {"mla": correct, "dice": torch.tensor(np.nanmean(dice) if np.isfinite(dice).any() else 0.0)}

    def shipped(self, network: nn.Module) -> nn.Module:
        return PixelBytes(network)

    def thresholds(self, network: nn.Module, specimens: Sequence[Specimen]) -> dict[str, float]:
        """Return the paper's 0.5."""
        return {"defect": self.settings.threshold}

    def evaluate(self, parts: Sequence[HeldOutPart], plots: Path | None) -> EvaluationResult:
        """Return Dice and IoU of the images, MLA and AUC of their labels; write `per_image.csv` with both by image."""
        areas, labels, files = [], [], []
        for one in parts:
            for specimen in outlined(one.specimens):
                gray, mask = self.image_and_mask(specimen)
                pixels, scores = _answer(one.network, gray)
                areas.append(
                    masks.MaskAreas.of(
                        pixels[None], masks.planes(mask[None], len(self.classes)), self.settings.threshold
                    )
                )
                labels.append(scores)
                files.append(specimen.file)
        joined = masks.MaskAreas.joined(areas)
        if plots is not None:
            _write_per_image(plots / PER_IMAGE, files, joined)
        return masks.evaluate(joined, self.classes, np.array(labels), files)

    def image_and_mask(self, specimen: Specimen) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the image and its mask in this study's class numbers, at this study's size."""
        gray, mask = specimen.gray(), specimen.mask()
        number = np.array([0, *(self.classes.index(label) + 1 for label in specimen.mask_labels)], np.uint8)
        mask = number[mask]
        if self.settings.lines and self.settings.width:
            size = (self.settings.width, self.settings.lines)
            gray, mask = resized(gray, size), cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8)
        return gray, mask


def outlined(specimens: Sequence[Specimen]) -> list[Specimen]:
    """Return the specimens with outlines."""
    return [one for one in specimens if one.knowledge is Knowledge.OUTLINED]


@torch.inference_mode()
def _answer(network: nn.Module, gray: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    logits = network(torch.from_numpy(gray)[None, None])
    return logits.pixels[0].sigmoid().numpy(), logits.labels[0].sigmoid().numpy()


def _write_per_image(path: Path, files: Sequence[str], areas: masks.MaskAreas) -> None:
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["file", "dice", "iou"])
        for file, dice, iou in zip(files, areas.image_dice(), areas.image_iou(), strict=True):
            writer.writerow([file, "" if np.isnan(dice) else f"{dice:.5f}", "" if np.isnan(iou) else f"{iou:.5f}"])
