"""Networks in the form of an engine: uint8 (n, 1, h, w) in, the one output of the engine's task out."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Shipped(nn.Module):
    """A network with its output turned into the engine's."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network


class Softmax(Shipped):
    """A single-label network as a classify engine: `scores` float32 (n, classes) that add up to 1."""

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image).softmax(1)


class Sigmoid(Shipped):
    """A multi-label network as a classify engine: `scores` float32 (n, classes) in [0, 1]."""

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image).sigmoid()


class Presence(Shipped):
    """A network of counts as a classify engine: `scores` float32 (n, classes), the counts clipped to [0, 1]."""

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image).clamp(0, 1)


class Chosen(Shipped):
    """A classify engine with some of its classes alone: `scores` float32 (n, columns)."""

    columns: Tensor

    def __init__(self, network: nn.Module, columns: list[int]):
        super().__init__(network)
        self.register_buffer("columns", torch.tensor(columns))

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.network(image)
        return scores.index_select(1, self.columns)


class ByteProbability(Shipped):
    """A network of one mask as a segment engine: `probability` uint8 (n, h, w), defect probability x 255, rounded."""

    def forward(self, image: Tensor) -> Tensor:
        return (self.network(image)[:, 0].sigmoid() * 255).round().to(torch.uint8)


class PixelBytes(Shipped):
    """A joint network as a segment engine: `probability` uint8 (n, h, w), the likeliest class's x 255, rounded."""

    def forward(self, image: Tensor) -> Tensor:
        return (self.network(image).pixels.amax(1).sigmoid() * 255).round().to(torch.uint8)
