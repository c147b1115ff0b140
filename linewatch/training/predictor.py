"""From a fitted network or an engine to answers, by one road: uint8 (n, 1, lines, width) in, the task's output out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_ROWS = 16


class Softmax(nn.Module):
    """A single-label network as a classify engine: `scores` float32 (n, classes) that add up to 1."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image).softmax(1)


class Images(Protocol):
    """Pictures of one size, uint8 (lines, width), read when asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]: ...


class Predictor(Protocol):
    """uint8 (n, 1, lines, width) to the task's output, an array (n, ...)."""

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
    """The predictor's answers to all images, in order."""
    parts = []
    for start in range(0, len(images), _ROWS):
        rows = [images[i] for i in range(start, min(start + _ROWS, len(images)))]
        parts.append(predict(np.stack(rows)[:, None]))
    return np.concatenate(parts)


def scores_of(shipped: nn.Module, images: Images | Sequence[NDArray[np.uint8]]) -> NDArray:
    """`answers` of a network in its shipped form."""
    return answers(TorchPredictor(shipped), images)


class PixelBytes(nn.Module):
    """A joint network as a segment engine: `probability` uint8 (n, h, w), the likeliest class's x 255, rounded."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return (self.network(image).pixels.amax(1).sigmoid() * 255).round().to(torch.uint8)


class Presence(nn.Module):
    """A network of counts as a classify engine: `scores` float32 (n, classes), the counts clipped to [0, 1]."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image).clamp(0, 1)


class Sigmoid(nn.Module):
    """A multi-label network as a classify engine: `scores` float32 (n, classes) in [0, 1]."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image).sigmoid()
