"""Metrics of segmentation: Dice and IoU as in Damacharla et al. (TLU-Net, eqs. 2 and 3), and Kaggle's Dice.

Masks are reduced to their areas: `MaskAreas` holds three counts per image and class, so frames can come one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from linewatch.metrics import multi_label
from linewatch.metrics.classes import mean, one_per_sample, ratio
from linewatch.metrics.intervals import DRAWS, with_intervals
from linewatch.metrics.result import EvaluationResult

MASK_THRESHOLD = 0.5


def planes(labels: ArrayLike, classes: int) -> NDArray[np.bool_]:
    """Return masks of class numbers (n, h, w) as one plane per class, bool (n, classes, h, w).

    0 is no defect, k the k-th class; a number above `classes` is in no plane.
    """
    return np.asarray(labels)[:, None] == np.arange(1, classes + 1)[:, None, None]


@dataclass(frozen=True)
class MaskAreas:
    """Areas in px, int64 (n, N), of the pixels that are both called and true, that are called, that are true."""

    both: NDArray[np.int64]
    called: NDArray[np.int64]
    true: NDArray[np.int64]

    @classmethod
    def of(cls, probability: ArrayLike, truth: ArrayLike, threshold: float = MASK_THRESHOLD) -> MaskAreas:
        """From probabilities and true masks, (n, N, h, w) or, of one class, (n, h, w).

        Probabilities are in [0, 1], or uint8 (x 255) as engines give them. A pixel is called at or above the threshold.
        """
        found, true = np.asarray(probability), np.asarray(truth) != 0
        if found.shape != true.shape or found.ndim not in (3, 4):
            raise ValueError(f"probability {found.shape}, truth {true.shape}: expected (n, N, h, w) or (n, h, w)")
        if found.ndim == 3:
            found, true = found[:, None], true[:, None]
        called = found >= (threshold * 255 if found.dtype == np.uint8 else threshold)
        areas = ((called & true).sum((2, 3)), called.sum((2, 3)), true.sum((2, 3)))
        return cls(*(area.astype(np.int64) for area in areas))

    @classmethod
    def joined(cls, parts: Sequence[MaskAreas]) -> MaskAreas:
        """Return the areas of all images of the parts, in order."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("both", "called", "true")))

    def at(self, images: NDArray[np.intp]) -> MaskAreas:
        """Return the areas of the images at these indices."""
        return MaskAreas(self.both[images], self.called[images], self.true[images])

    def image_dice(self) -> NDArray[np.float64]:
        """Return (n,): the Dice of each image with a defect, over all its class planes; nan for the other images.

        A pixel called with the wrong class is wrong twice.
        """
        return _where_defect(2 * self.both.sum(1), self.called.sum(1) + self.true.sum(1), self.true.sum(1))

    def image_iou(self) -> NDArray[np.float64]:
        """Return (n,): the IoU of each image with a defect; nan for the other images."""
        union = self.called.sum(1) + self.true.sum(1) - self.both.sum(1)
        return _where_defect(self.both.sum(1), union, self.true.sum(1))

    def class_dice(self) -> NDArray[np.float64]:
        """Return (n, N): the Dice of each class in the images that have it; nan in the others."""
        return _where_defect(2 * self.both, self.called + self.true, self.true)

    def kaggle_dice(self) -> NDArray[np.float64]:
        """Return (n, N): Dice by Kaggle's rule; an image without the class scores 1 if nothing is called, else 0."""
        area = self.called + self.true
        return np.where(area == 0, 1.0, 2 * self.both / np.maximum(area, 1))


def evaluate(
    areas: MaskAreas,
    classes: Sequence[str],
    labels: ArrayLike | None = None,
    groups: Sequence[object] | ArrayLike | None = None,
    paper: Mapping[str, float] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> EvaluationResult:
    """Evaluate the mask areas of n images and, of a network that also labels images (TLU-Net), its labels (n, N).

    Labels are probabilities, called at 0.5 and true where the mask of the class is not empty; `multi_label` gives their
    metrics, which are None without labels. `groups` (n,): the frame, coil or near-duplicates of each image.
    """
    images, named = areas.true.shape[0], tuple(classes)
    if areas.true.shape[1] != len(named):
        raise ValueError(f"{areas.true.shape[1]} planes for {len(named)} classes")
    scores = None if labels is None else np.asarray(labels, np.float64)
    claims = dict(paper or {})
    blank = EvaluationResult(count=images, task="segment", classes=named)

    def evaluated(at: NDArray[np.intp]) -> EvaluationResult:
        part = areas.at(at)
        base = blank
        if scores is not None:
            base = multi_label.evaluate(scores[at], part.true > 0, named, draws=0, task="segment")
        own = {
            "count": len(at),
            "dice": _mean_where_defined(part.image_dice()),
            "iou": _mean_where_defined(part.image_iou()),
            "dice_pooled": ratio(2 * part.both.sum(), part.called.sum() + part.true.sum()),
            "dice_per_class": {
                name: _mean_where_defined(of) for name, of in zip(named, part.class_dice().T, strict=True)
            },
            "kaggle_dice": mean(part.kaggle_dice().ravel()),
            "paper": claims,
        }
        return EvaluationResult.model_validate(dict(base) | own)

    return with_intervals(evaluated, one_per_sample(images, groups), draws, seed)


def _where_defect(part: NDArray[np.int64], whole: NDArray[np.int64], true: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(true > 0, part / np.maximum(whole, 1), np.nan)


def _mean_where_defined(values: NDArray[np.float64]) -> float | None:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None
