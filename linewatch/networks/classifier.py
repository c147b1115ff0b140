"""Multi-label tile classifier: MobileNet features, pooled by mean and by maximum, then one linear layer."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from linewatch.networks.heads import HALVING_PLANES, half_size_planes
from linewatch.networks.mobilenet import fold_gray, make_encoder


class TileClassifier(nn.Module):
    """uint8 (n, 1, h, w), h and w multiples of 64, to logits float32 (n, classes), one independent logit per class.

    The mean tells what covers the tile, the maximum what is small in it.
    """

    def __init__(self, classes: int, encoder: str = "mobilenet_v2_1.0", weights: Path | None = None, dropout: float = 0.2):
        super().__init__()
        self.encoder = make_encoder(encoder, weights=weights)
        fold_gray(self.encoder, planes=HALVING_PLANES)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * self.encoder.taps[-1].channels, classes)

    def forward(self, image: Tensor) -> Tensor:
        features = self.encoder(half_size_planes(image))[-1]
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        return self.head(self.dropout(pooled))


class Scores(nn.Module):
    """The shipped form: uint8 tiles to `scores` float32 (n, classes) in [0, 1]."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image).sigmoid()
