"""Prediction with networks and engines alike: uint8 (n, 1, lines, width) in, the task's output out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

_ROWS = 16


class Images(Protocol):
    """A sequence of images of one size, uint8 (lines, width), read on access."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]: ...


class Predictor(Protocol):
    """Maps uint8 (n, 1, lines, width) to the task's output, an array (n, ...)."""

    def __call__(self, images: NDArray[np.uint8], /) -> NDArray: ...


class TorchPredictor:
    """A network in its shipped form, on a GPU where there is one."""

    def __init__(self, shipped: nn.Module):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.shipped = shipped.eval().to(self.device)

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray:
        return self.shipped(torch.from_numpy(images).to(self.device)).cpu().numpy()


def answers(predict: Predictor, images: Images | Sequence[NDArray[np.uint8]]) -> NDArray:
    """Return the outputs for all images, in order."""
    parts = []
    for start in range(0, len(images), _ROWS):
        rows = [images[i] for i in range(start, min(start + _ROWS, len(images)))]
        parts.append(predict(np.stack(rows)[:, None]))
    return np.concatenate(parts)


def scores_of(shipped: nn.Module, images: Images | Sequence[NDArray[np.uint8]]) -> NDArray:
    """Return the outputs of a network in its shipped form for all images, in order."""
    return answers(TorchPredictor(shipped), images)
