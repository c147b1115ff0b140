"""The inspect network: it looks at a whole frame in one pass, for a screen, outlines and classes.

An EfficientNet-Lite trunk at half the frame's resolution feeds a light U-Net decoder (Ronneberger et al. 2015,
arXiv:1505.04597). Its stem sees every pixel: the four of each 2 x 2 block are planes of their own (Shi et al. 2016,
arXiv:1609.05158, the other way round), since a torn spot is 20 to 40 px long. Screen, classes and outlines are heads of
one trunk, so a frame costs one pass however many of its places are suspicious. Beside the gray image the trunk sees it
with the illumination divided out, as `Screen` does.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from linewatch.contracts.manifest import Task
from linewatch.networks.efficientnet_lite import ENCODERS, make_efficientnet_lite
from linewatch.networks.pretrained import Source
from linewatch.networks.screen import LocalContrast
from linewatch.networks.spec import HOUSE, NetworkSpec


class FrameLogits(NamedTuple):
    """Outputs of the heads, before the sigmoid.

    screen: float32 (n, h / 32, w / 32), whether the cell holds a defect. outlines: float32 (n, 1 + classes, h / 4,
    w / 4), whether the pixel belongs to a defect of any class, then of which class it would be, in logits of a softmax.
    """

    screen: Tensor
    outlines: Tensor

    def outline_probability(self) -> Tensor:
        """Return the probability that a pixel belongs to a defect, of any class and of each: float32, as `outlines`.

        The classes add up to the first plane, so that a class need not compete with the far more common clean steel.
        """
        defect = self.outlines[:, :1].sigmoid()
        return torch.cat([defect, defect * self.outlines[:, 1:].softmax(1)], 1)


class Up(nn.Module):
    """Doubles the size, joins the trunk's map of that size, and mixes: depthwise 5 x 5, then pointwise."""

    def __init__(self, below: int, skip: int, out: int):
        super().__init__()
        self.reduce, self.skip = nn.Conv2d(below, out, 1), nn.Conv2d(skip, out, 1)
        self.mix = nn.Sequential(
            nn.BatchNorm2d(out),
            nn.ReLU6(),
            nn.Conv2d(out, out, 5, padding=2, groups=out, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU6(),
            nn.Conv2d(out, out, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU6(),
        )

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        return self.mix(F.interpolate(self.reduce(below), scale_factor=2.0, mode="nearest") + self.skip(skip))


class FrameNetwork(nn.Module):
    """The network: uint8 (n, 1, h, w), h and w multiples of 64, to `FrameLogits`.

    The coarsest map is also shown less its mean over the frame: what is everywhere is no defect.
    """

    SHRINK = 2
    SCREEN_PX, OUTLINE_PX = 32, 4

    def __init__(
        self,
        classes: int,
        encoder: str = "efficientnet_lite1",
        weights: Path | None = None,
        decoder: tuple[int, ...] = (96, 64, 48, 32),
        dropout: float = 0.1,
    ):
        super().__init__()
        self.contrast = LocalContrast()
        self.trunk = make_efficientnet_lite(encoder, planes=self.SHRINK**2 + 1, weights=weights)
        with torch.no_grad():  # the gray planes together weigh as much as the relief, as if they were one of half size
            self.trunk.conv_stem.weight[:, :-1] *= 0.5 / self.SHRINK**2 * (self.SHRINK**2 + 1)
            self.trunk.conv_stem.weight[:, -1:] *= 0.5 * (self.SHRINK**2 + 1)
        *skips, coarse = (tap.channels for tap in self.trunk.taps)
        belows = [2 * coarse, *decoder[:-1]]
        self.ups = nn.ModuleList(Up(*channels) for channels in zip(belows, reversed(skips), decoder, strict=True))
        self.dropout = nn.Dropout2d(dropout)
        self.screen = nn.Conv2d(decoder[0], 1, 1)
        self.outlines = nn.Conv2d(decoder[-1], 1 + classes, 3, padding=1)
        for head in (self.screen, self.outlines):
            assert head.bias is not None
            nn.init.constant_(head.bias, -3.0)  # most of a strip is clean

    def forward(self, image: Tensor) -> FrameLogits:
        pixels = image.float()
        with torch.autocast(image.device.type, enabled=False):  # half precision would cancel in the variance
            small = F.avg_pool2d(pixels, self.SHRINK)
            mean, gain = self.contrast(small / 255)
            relief = ((small / 255 - mean) * gain).clamp(-1, 1)
        planes = F.pixel_unshuffle((pixels - 127) / 128, self.SHRINK)
        *skips, x = self.trunk(torch.cat([planes, relief], 1))
        x = torch.cat([x, x - x.mean((2, 3), keepdim=True)], 1)
        maps: list[Tensor] = []
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(x, skip)
            maps.append(x)
        return FrameLogits(self.screen(self.dropout(maps[0]))[:, 0], self.outlines(self.dropout(x)))


def _build(classes: int, weights: Source, encoder: str = "efficientnet_lite1") -> FrameNetwork:
    return FrameNetwork(classes, encoder)


SPECS = (
    NetworkSpec(
        "inspect", HOUSE, Task.INSPECT, 256, 1600, 4, _build, "inspect", fixed_size=True, encoders=tuple(ENCODERS)
    ),
)
