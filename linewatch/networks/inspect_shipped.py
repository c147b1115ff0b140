"""The inspect network in the form of an engine: the same answers from fewer and cheaper operations."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from linewatch.networks.inspect import FrameNetwork, Up
from linewatch.networks.screen import LocalContrast

_MEAN, _SCALE = 127.0, 128.0
"""TensorFlow's normalisation, (gray - 127) / 128."""


class InspectMaps(nn.Module):
    """uint8 (n, 1, h, w) to `maps` float32 (n, 2 + classes, h / 4, w / 4), as `Task.INSPECT` says; h and w are fixed.

    It computes what `FrameNetwork` computes, rearranged for the runtimes of CPUs. The stem's 3 x 3 convolution of the
    four planes of each 2 x 2 block is one of 6 x 6 pixels at stride 4. The local contrast's pooling and interpolation
    are products with constant matrices. Batch norms are folded into the convolutions before them; that of a decoder's
    stage into both whose sum it reads. `network` itself stays as it is.
    """

    def __init__(self, network: FrameNetwork, lines: int = 256, width: int = 1600):
        super().__init__()
        network = deepcopy(network).eval().float()
        self.shrink, self.cells = network.SHRINK, network.SCREEN_PX // network.OUTLINE_PX
        self.contrast = _ContrastProducts(network.contrast, lines // self.shrink, width // self.shrink)
        self.trunk = network.trunk
        self.gray, self.relief = _stems(network)
        self.ups = nn.ModuleList(_FoldedUp(up) for up in network.ups)  # type: ignore[arg-type]
        self.screen, self.outlines = network.screen, network.outlines

    def forward(self, image: Tensor) -> Tensor:
        gray = image.squeeze(1).float()  # without an axis of one plane, along which OpenVINO would vectorise
        relief, gray = self.contrast(_halved(gray) / 255)[:, None], (gray - _MEAN)[:, None]
        stem = F.relu6(self.gray(F.pad(gray, (0, 2, 0, 2))) + self.relief(F.pad(relief, (0, 1, 0, 1))))
        *skips, x = self.trunk.stages(stem)
        x = torch.cat([x, x - x.mean((2, 3), keepdim=True)], 1)
        screen = None
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(x, skip)
            screen = self.screen(x).sigmoid() if screen is None else screen
        assert screen is not None
        logits = self.outlines(x)
        share = (logits[:, 1:] - logits[:, 1:].amax(1, keepdim=True)).exp()
        return torch.cat(
            [
                F.interpolate(screen, scale_factor=float(self.cells), mode="nearest"),
                logits[:, :1].sigmoid(),
                share / share.sum(1, keepdim=True),
            ],
            1,
        )


def _halved(gray: Tensor) -> Tensor:
    """Return the means of 2 x 2 pixels of (n, h, w): over lines, then over columns by a product, 16 at a time."""
    n, lines, width = gray.shape
    columns = gray.view(n, lines // 2, 2, width).sum(2).view(n, lines // 2, width // 32, 32)
    return (columns @ (F.avg_pool1d(torch.eye(32), 2) / 2)).view(n, lines // 2, width // 2)


class _ContrastProducts(nn.Module):
    """The relief of (n, h, w) by `LocalContrast`, with pooling and interpolation as products with matrices."""

    pool_lines: Tensor
    pool_columns: Tensor
    spread_lines: Tensor
    spread_columns: Tensor

    def __init__(self, contrast: LocalContrast, lines: int, width: int):
        super().__init__()
        self.floor = contrast.floor

        def pooled(size: int) -> Tensor:
            each = F.avg_pool1d(torch.eye(size), contrast.grid)
            return F.avg_pool1d(each, contrast.window, 1, contrast.window // 2, count_include_pad=False)

        def spread(size: int) -> Tensor:
            return F.interpolate(torch.eye(size)[None], scale_factor=float(contrast.grid), mode="linear")[0]

        self.register_buffer("pool_lines", pooled(lines).T.contiguous())
        self.register_buffer("pool_columns", pooled(width))
        self.register_buffer("spread_lines", spread(lines // contrast.grid).T.contiguous())
        self.register_buffer("spread_columns", spread(width // contrast.grid))

    def forward(self, x: Tensor) -> Tensor:
        mean, square = (self.pool_lines @ each @ self.pool_columns for each in (x, x * x))
        gain = 1 / (3 * ((square - mean * mean).clamp_min(0).sqrt() + self.floor))
        mean, gain = (self.spread_lines @ each @ self.spread_columns for each in (mean, gain))
        return ((x - mean) * gain).clamp(-1, 1)


class _FoldedUp(nn.Module):
    """A stage of the decoder without batch norms."""

    def __init__(self, up: Up):
        super().__init__()
        norm, act, depthwise, norm2, _, pointwise, norm3, _ = up.mix
        assert isinstance(norm, nn.BatchNorm2d)
        self.reduce, self.skip = fuse_conv_bn_eval(up.reduce, norm), fuse_conv_bn_eval(up.skip, norm)
        assert self.reduce.bias is not None
        with torch.no_grad():  # the sum is shifted once
            self.reduce.bias -= _scale_and_shift(norm)[1]
        self.act = act
        self.depthwise = fuse_conv_bn_eval(depthwise, norm2)  # type: ignore[type-var, arg-type]
        self.pointwise = fuse_conv_bn_eval(pointwise, norm3)  # type: ignore[type-var, arg-type]

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        x = self.act(F.interpolate(self.reduce(below), scale_factor=2.0, mode="nearest") + self.skip(skip))
        return self.act(self.pointwise(self.act(self.depthwise(x))))


def _stems(network: FrameNetwork) -> tuple[nn.Conv2d, nn.Conv2d]:
    """Return the stem's share of the pixels, at stride 4 and of gray - 127, and that of the relief, at stride 2."""
    shrink, stem = network.SHRINK, network.trunk.conv_stem
    scale, shift = _scale_and_shift(network.trunk.bn1)
    weight = (stem.weight * scale[:, None, None, None]).detach()
    out, _, k, _ = weight.shape
    gray = nn.Conv2d(1, out, k * shrink, 2 * shrink)
    relief = nn.Conv2d(1, out, k, 2, bias=False)
    blocks = weight[:, :-1].reshape(out, shrink, shrink, k, k)  # line and column in the block, then of blocks
    assert gray.bias is not None
    with torch.no_grad():
        gray.weight.copy_(blocks.permute(0, 3, 1, 4, 2).reshape(out, 1, k * shrink, k * shrink) / _SCALE)
        gray.bias.copy_(shift)
        relief.weight.copy_(weight[:, -1:])
    return gray, relief


def _scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale
