"""The base of the papers' networks: a trunk that can be frozen, stages for feature maps, gray bytes as input."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class PaperNetwork(nn.Module):
    """A network of a paper. Its `trunk` can be pretrained and frozen; the rest is new."""

    trunk: nn.Module
    trunk_frozen = False

    def freeze_trunk(self, frozen: bool = True) -> None:
        """Exclude the trunk, with its batch norms' statistics, from training, or include it again."""
        self.trunk_frozen = frozen
        self.trunk.requires_grad_(not frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> PaperNetwork:
        super().train(mode)
        if self.trunk_frozen:
            self.trunk.eval()
        return self

    def stages(self) -> Mapping[str, nn.Module]:
        """Return the modules whose outputs (n, c, h, w) are drawn as feature maps, from shallow to deep."""
        raise NotImplementedError


class GrayPlanes(nn.Module):
    """uint8 (n, 1, h, w) to float32 (n, 3, h, w), normalised by ImageNet's mean and standard deviation."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        assert isinstance(self.mean, Tensor)
        assert isinstance(self.deviation, Tensor)
        return (image.float() / 255 - self.mean) / self.deviation


class SignedPlanes(nn.Module):
    """uint8 (n, 1, h, w) to float32 (n, planes, h, w) in [-1, 1]."""

    def __init__(self, planes: int):
        super().__init__()
        self.planes = planes

    def forward(self, image: Tensor) -> Tensor:
        return (image.float() / 127.5 - 1).expand(-1, self.planes, -1, -1)
