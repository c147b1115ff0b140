"""The tile classifier: MobileNet features pooled by mean and maximum, and one linear layer (multi-label)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from linewatch.contracts.manifest import Task
from linewatch.networks.mobilenet import fold_gray, make_encoder
from linewatch.networks.pretrained import Source
from linewatch.networks.spec import HOUSE, NetworkSpec


class TileClassifier(nn.Module):
    """uint8 (n, 1, h, w) to logits float32 (n, classes), one independent logit per class.

    The tile is scaled to `side` px, the size of ImageNet's images. The mean sees defects that cover the tile, the
    maximum small ones. A class may have several appearances (scratches of different mills): `kinds` gives the number
    for each class; each kind has an output of its own, and the class's logit is the highest of its kinds. The first
    `frozen` blocks keep their ImageNet weights.
    """

    def __init__(
        self,
        kinds: Sequence[int],
        encoder: str = "mobilenet_v2_1.0",
        weights: Path | None = None,
        dropout: float = 0.2,
        side: int = 224,
        frozen: int = 4,
    ):
        super().__init__()
        self.kinds, self.side = tuple(kinds), side
        self.encoder = make_encoder(encoder, weights=weights, last_conv="v2" in encoder)
        fold_gray(self.encoder)
        self.encoder.blocks[:frozen].requires_grad_(False)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * self.encoder.taps[-1].channels, sum(self.kinds))

    def forward(self, image: Tensor) -> Tensor:
        x = image.float() / 127.5 - 1
        if image.shape[-2:] != (self.side, self.side):
            x = F.interpolate(x, size=(self.side, self.side), mode="bilinear", align_corners=False)
        features = self.encoder(x)[-1]
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        kinds = self.head(self.dropout(pooled))
        return torch.stack([own.amax(1) for own in kinds.split(self.kinds, 1)], 1)


def _build(classes: int, weights: Source) -> TileClassifier:
    return TileClassifier([2] * classes)


SPECS = (NetworkSpec("tile_classifier", HOUSE, Task.CLASSIFY, 256, 256, 13, _build, "classify"),)
