"""Segmentation and classification at once: the protocol of Damacharla et al. 2021 (TLU-Net).

Pixels and labels of a picture share one encoder. The paper compares random with ImageNet weights on all and on half of
the training part; here that is `--weights` and `--set training_share=0.5`, with one split and seed, so that two runs
can be compared picture by picture (`comparison`).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.utils.data import Dataset

from linewatch.contracts.manifest import Task
from linewatch.datasets import DataSet, DatasetError, Knowledge, Specimen
from linewatch.metrics import masks
from linewatch.metrics.judgement import Judgement
from linewatch.networks.pretrained import Source
from linewatch.training.fit import Phase
from linewatch.training.losses import joint_loss
from linewatch.training.papers.study import Judged, PaperSettings, resized
from linewatch.training.predictor import PixelBytes
from linewatch.training.samples.augmentation import Augmentation

PER_IMAGE = "per_image.csv"


class JointSettings(PaperSettings):
    """The paper's: 75 / 12.5 / 12.5, Adam 5e-4 with betas (0.99, 0.99), batch 16, 10 epochs with early stopping, flips.

    Lines and width 0 take pictures as they are; else they are scaled, for a machine that is small.
    """

    network: str = "tlu_net"
    encoder: str = "resnet18"
    lines: int = Field(default=256, ge=0)
    width: int = Field(default=1600, ge=0)
    epochs: int = 10
    batch: int = 16
    rate: float = 5e-4
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
        "0.5: none, the paper's. Where defects are few pixels in a hundred a short training spends itself on that bias",
    )


class Outlined(Dataset[dict[str, Tensor]]):
    """Pictures with a mask of class numbers each; augmented by (epoch, index), plain by index."""

    def __init__(self, study: Joint, specimens: Sequence[Specimen], augmentation: Augmentation | None = None):
        self.specimens, self.augmentation, self.seed = specimens, augmentation, study.settings.seed
        self.pairs = [study.picture_and_mask(one) for one in specimens]
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


class Joint:
    """The study. Classes are the mask's; only outlined pictures count."""

    task = Task.SEGMENT
    settings: JointSettings

    def __init__(self, settings: JointSettings, data_set: DataSet):
        self.settings, self.name = settings, data_set.name
        drawn = {label for one in data_set.specimens for label in one.mask_labels}
        self.classes = tuple(label for label in data_set.labels if label in drawn) or data_set.labels
        if data_set.specimens and not drawn:
            raise DatasetError(f"{data_set.name}: has no masks, which this recipe learns from; name a set with masks")

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
        settings = self.settings
        return [
            Phase(
                name="fit",
                epochs=settings.epochs,
                optimizer=lambda weights: torch.optim.Adam(weights, settings.rate, settings.betas),
                patience=settings.patience,
            )
        ]

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
        overlap = masks.Overlap.of(logits.pixels.sigmoid().numpy(force=True), batch["pixels"].numpy(force=True), 0.5)
        dice = overlap.image_dice()
        right = ((logits.labels > 0) == batch["labels"]).float().mean()
        return {"mla": right, "dice": torch.tensor(np.nanmean(dice) if np.isfinite(dice).any() else 0.0)}

    def shipped(self, network: nn.Module) -> nn.Module:
        return PixelBytes(network)

    def thresholds(self, network: nn.Module, specimens: Sequence[Specimen]) -> dict[str, float]:
        """The paper's 0.5."""
        return {"defect": self.settings.threshold}

    def judge(self, judged: Sequence[Judged], pictures: Path | None) -> Judgement:
        """Dice and IoU of each picture, MLA and AUC of its labels; `per_image.csv` keeps them by picture."""
        overlaps, labels, files = [], [], []
        for one in judged:
            for specimen in outlined(one.specimens):
                gray, mask = self.picture_and_mask(specimen)
                pixels, scores = _answer(one.network, gray)
                overlaps.append(
                    masks.Overlap.of(pixels[None], masks.planes(mask[None], len(self.classes)), self.settings.threshold)
                )
                labels.append(scores)
                files.append(specimen.file)
        overlap = masks.Overlap.joined(overlaps)
        if pictures is not None:
            _write_per_image(pictures / PER_IMAGE, files, overlap)
        return masks.judge(overlap, self.classes, np.array(labels), files)

    def picture_and_mask(self, specimen: Specimen) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The picture and its mask in this study's class numbers, at its size."""
        gray, mask = specimen.gray(), specimen.mask()
        number = np.array([0, *(self.classes.index(label) + 1 for label in specimen.mask_labels)], np.uint8)
        mask = number[mask]
        if self.settings.lines and self.settings.width:
            size = (self.settings.width, self.settings.lines)
            gray, mask = resized(gray, size), _nearest(mask, size)
        return gray, mask


def outlined(specimens: Sequence[Specimen]) -> list[Specimen]:
    return [one for one in specimens if one.knowledge is Knowledge.OUTLINED]


def _nearest(mask: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    import cv2

    return cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8, copy=False)


@torch.inference_mode()
def _answer(network: nn.Module, gray: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    logits = network(torch.from_numpy(gray)[None, None])
    return logits.pixels[0].sigmoid().numpy(), logits.labels[0].sigmoid().numpy()


def _write_per_image(path: Path, files: Sequence[str], overlap: masks.Overlap) -> None:
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["file", "dice", "iou"])
        for file, dice, iou in zip(files, overlap.image_dice(), overlap.image_iou(), strict=True):
            writer.writerow([file, "" if np.isnan(dice) else f"{dice:.5f}", "" if np.isnan(iou) else f"{iou:.5f}"])
