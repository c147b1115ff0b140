"""Losses of the papers that torch lacks. All take logits (counts_loss: counts) and return a mean as a scalar."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def focal_loss(logits: Tensor, truth: Tensor, gamma: float = 2.0, alpha: float | None = 0.25) -> Tensor:
    """Return the sigmoid focal loss of Lin et al. 2017 (eq. 5), mean over (n, C): -alpha_t (1 - p_t)^gamma log p_t.

    `truth` is 0 or 1 of the same shape. `alpha` weighs the positive, 1 - alpha the negative; None weighs neither.
    gamma = 0 with alpha None is the binary cross-entropy. (Lin et al. divide the sum by the number of anchors with an
    object. Konovalenko et al. do not say; the plain mean keeps the rate independent of the batch.)
    """
    truth = truth.to(logits.dtype)
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    # 1 - p_t as a sigmoid of its own, not as a difference: exact, with its gradient, where p_t is nearly 1.
    missing = torch.sigmoid(torch.where(truth > 0.5, -logits, logits))
    loss = missing**gamma * entropy
    if alpha is not None:
        loss = loss * torch.where(truth > 0.5, alpha, 1 - alpha)
    return loss.mean()


def joint_loss(
    pixels: Tensor, labels: Tensor, true_pixels: Tensor, true_labels: Tensor, pixel_weight: float = 1.0
) -> Tensor:
    """Return the joint loss of TLU-Net (Damacharla et al., eq. 1).

    It is the binary cross-entropy of the labels plus `pixel_weight` times the *mean* cross-entropy of the pixels,
    summed over the N classes, mean over the images. `pixels`, `true_pixels`: (n, N, h, w); `labels`, `true_labels`:
    (n, N). The paper's text has a weighted combination, but its eq. 1 has no weight and sums over the pixels: as
    printed, `pixel_weight` is h * w, 409,600 at 256 x 1600, and the labels have no influence. With 1 both count alike.
    (Eq. 1 also sums over the images and swaps z and its hat between its two terms; the mean over images is a constant
    factor, to which Adam is invariant.)
    """
    truths = true_pixels.to(pixels.dtype), true_labels.to(labels.dtype)
    per_pixel = functional.binary_cross_entropy_with_logits(pixels, truths[0], reduction="none").mean((2, 3))
    per_label = functional.binary_cross_entropy_with_logits(labels, truths[1], reduction="none")
    return (per_label + pixel_weight * per_pixel).sum(1).mean()


def counts_loss(counts: Tensor, true_counts: Tensor) -> Tensor:
    """Return the mean squared error of counts (n, C) (Dorzhiev & Feiler, sec. III-D)."""
    return functional.mse_loss(counts, true_counts.to(counts.dtype))
