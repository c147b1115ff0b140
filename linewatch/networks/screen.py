"""The screen: one cheap pass over the whole frame that finds where the heavy networks must look.

A MobileNet trunk over the down-scaled frame, fine and coarse features joined at the coarse stride, one logit per cell.
Beside the gray image the trunk sees it with the illumination divided out (local contrast normalisation, Jarrett et al.
2009), because brightness differs by coil and place, which is no defect.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from linewatch.contracts.manifest import Task
from linewatch.networks.mobilenet import fold_gray, make_encoder
from linewatch.networks.pretrained import Source
from linewatch.networks.spec import HOUSE, NetworkSpec


class LocalContrast(nn.Module):
    """Local mean and inverse local standard deviation of a gray image (n, 1, h, w) in [0, 1].

    Both are over windows of `window` grid points, which are `grid` pixels apart; `floor` suppresses noise in the dark
    beside the strip.
    """

    def __init__(self, grid: int = 8, window: int = 9, floor: float = 0.02):
        super().__init__()
        self.grid, self.window, self.floor = grid, window, floor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the local mean and the inverse of the local spread, (n, 1, h, w) each."""
        mean, square = F.avg_pool2d(x, self.grid), F.avg_pool2d(x * x, self.grid)
        moments = F.avg_pool2d(torch.cat([mean, square], 1), self.window, 1, self.window // 2, count_include_pad=False)
        mean, square = moments[:, :1], moments[:, 1:]
        gain = 1 / (3 * ((square - mean * mean).clamp_min(0).sqrt() + self.floor))
        local = F.interpolate(
            torch.cat([mean, gain], 1), scale_factor=float(self.grid), mode="bilinear", align_corners=False
        )
        return local[:, :1], local[:, 1:]


class Screen(nn.Module):
    """uint8 (n, 1, h, w) -> float32 (n, h / cell_px, w / cell_px): probability that the cell holds a defect.

    h and w are multiples of `cell_px`. `shrink` down-scales the frame in the graph; cell_px = shrink * 16.
    """

    def __init__(
        self,
        encoder: str = "mobilenet_v2_1.0",
        *,
        shrink: int = 2,
        width: int = 64,
        dropout: float = 0.2,
        weights: Path | None = None,
        relative: bool = False,
        taps: int = 2,
        frozen: int = 0,
        spots: str = "",
    ):
        super().__init__()
        self.shrink, self.cell_px = shrink, shrink * 16
        self.contrast = LocalContrast()
        self.encoder = make_encoder(encoder, last_stride=16, weights=weights)
        fold_gray(self.encoder, planes=2)
        self.encoder.blocks[:frozen].requires_grad_(False)
        *fine, coarse = self.encoder.taps[-taps:]
        self.fine = nn.ModuleList(nn.Conv2d(2 * tap.channels, width, 1) for tap in fine)
        self.coarse = nn.Conv2d(coarse.channels, width, 1)
        self.context = nn.Sequential(nn.Conv2d(width, width, 5, padding=2, groups=width), nn.Conv2d(width, width, 1))
        self.spots = make_encoder(spots, last_stride=8, weights=weights) if spots else None
        if self.spots is not None:
            fold_gray(self.spots, planes=1)
            self.spots.blocks[: min(frozen, 3)].requires_grad_(False)
            tap = self.spots.taps[-1]
            self.spot = nn.Sequential(nn.Conv2d(tap.channels, width, 1), nn.ReLU6())
        self.relative = relative
        self.dropout = nn.Dropout2d(dropout)
        self.logit = nn.Conv2d((3 if relative else 2) * width, 1, 1)

    def logits(self, image: Tensor) -> Tensor:
        """Return the output before the sigmoid, for training."""
        whole = image.float() / 255
        with torch.autocast(image.device.type, enabled=False):  # in half precision the variance would cancel out
            x = F.avg_pool2d(whole, self.shrink) if self.shrink > 1 else whole
            mean, gain = self.contrast(x)
            relief = ((x - mean) * gain).clamp(-1, 1)
        *_, coarse = maps = self.encoder(torch.cat([x * 2 - 1, relief], 1))
        joined = self.coarse(coarse)
        for reduce, fine in zip(self.fine, maps[-1 - len(self.fine) : -1], strict=False):
            window = fine.shape[-1] // coarse.shape[-1]
            joined = joined + reduce(torch.cat([F.max_pool2d(fine, window), F.avg_pool2d(fine, window)], 1))
        if self.spots is not None:
            n, _, h, w = x.shape
            cut = (n, 1, h, self.shrink, w, self.shrink)
            fine = (whole.view(cut) - mean[:, :, :, None, :, None]) * gain[:, :, :, None, :, None]
            seen = self.spot(self.spots(fine.view(whole.shape).clamp(-1, 1))[-1])
            joined = joined + F.max_pool2d(seen, seen.shape[-1] // coarse.shape[-1])
        joined = F.relu6(joined)
        seen = [joined, F.relu6(self.context(joined))]
        if self.relative:
            seen.append(joined - joined.mean((2, 3), keepdim=True))
        return self.logit(self.dropout(torch.cat(seen, 1)))[:, 0]

    def forward(self, image: Tensor) -> Tensor:
        return self.logits(image).sigmoid()


def _build(classes: int, weights: Source) -> Screen:
    return Screen(relative=True, taps=3)


SPECS = (NetworkSpec("screen", HOUSE, Task.SCREEN, 256, 1600, 1, _build, "screen", fixed_size=True),)
