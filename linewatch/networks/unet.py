"""U-Net (Ronneberger et al. 2015, arXiv:1505.04597) with a MobileNet encoder and a light decoder."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from linewatch.contracts.manifest import Task
from linewatch.networks.mobilenet import fold_gray, make_encoder
from linewatch.networks.pretrained import Source
from linewatch.networks.spec import HOUSE, NetworkSpec

HALVING_PLANES = 4
"""Planes of `half_size_planes`: an ImageNet encoder folded to as many starts as if it saw the tile at half size."""


def half_size_planes(image: Tensor) -> Tensor:
    """Return uint8 (n, 1, h, w) as float32 (n, 4, h/2, w/2) in [-1, 1]: each 2 x 2 block of pixels as four planes."""
    return F.pixel_unshuffle(image.float() / 127.5 - 1, 2)


class _Up(nn.Module):
    """Doubles the size, joins the encoder's map of that size, and mixes both by one convolution."""

    def __init__(self, below: int, skip: int, out: int):
        super().__init__()
        self.reduce = nn.Conv2d(below, out, 1)
        self.mix = nn.Sequential(
            nn.Conv2d(out + skip, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
        )

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        up = F.interpolate(self.reduce(below), scale_factor=2.0, mode="nearest")
        return self.mix(torch.cat([up, skip], 1))


class MobileUNet(nn.Module):
    """uint8 (n, 1, h, w), h and w multiples of 64, to defect logits float32 (n, 1, h, w), of any class.

    It works at half size: each 2 x 2 block of pixels enters as four planes and leaves as four logits (sub-pixel
    convolution, Shi et al. 2016, arXiv:1609.05158).
    """

    def __init__(
        self,
        encoder: str = "mobilenet_v2_1.0",
        weights: Path | None = None,
        decoder: tuple[int, ...] = (64, 48, 32, 24, 16),
    ):
        super().__init__()
        self.encoder = make_encoder(encoder, weights=weights)
        fold_gray(self.encoder, planes=HALVING_PLANES)
        skips = [HALVING_PLANES, *(tap.channels for tap in self.encoder.taps[:-1])][::-1]
        belows = [self.encoder.taps[-1].channels, *decoder[:-1]]
        self.ups = nn.ModuleList(_Up(*channels) for channels in zip(belows, skips, decoder, strict=True))
        self.fine = nn.Sequential(
            nn.Conv2d(decoder[-1] + HALVING_PLANES, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Conv2d(16, HALVING_PLANES, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        planes = half_size_planes(image)
        maps: list[Tensor] = self.encoder(planes)
        *skips, x = [planes, *maps]
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(x, skip)
        return F.pixel_shuffle(self.head(self.fine(torch.cat([x, planes], 1))), 2)


def _build(classes: int, weights: Source) -> MobileUNet:
    return MobileUNet()


SPECS = (NetworkSpec("mobile_unet", HOUSE, Task.SEGMENT, 256, 256, 1, _build, "segment"),)
