"""MobileNet encoders with ImageNet weights.

MobileNet v1 (Howard et al. 2017, arXiv:1704.04861) and v2 (Sandler et al. 2018, arXiv:1801.04381) in the form of
TensorFlow's checkpoints: batch norm folded into the convolutions, ReLU6, inputs scaled to +-1, stride-2 convolutions
padded at the bottom and right only. torchvision's modules would load such weights silently but wrongly, so the layers
here are in the checkpoint's order.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from linewatch.contracts.errors import LinewatchError


class WeightsMismatch(LinewatchError):
    """A weights file does not fit the network that is to load it."""


class _Conv(nn.Module):
    """Convolution with TensorFlow's SAME padding for even sizes, then ReLU6 unless `linear`."""

    def __init__(self, cin: int, cout: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, linear: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, stride, padding=kernel // 2 if stride == 1 else 0, groups=groups)
        self.pad = (0, 1, 0, 1) if stride == 2 else None
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(F.pad(x, self.pad) if self.pad else x)
        return x if self.linear else F.relu6(x)


class _Separable(nn.Sequential):
    """v1 block: depthwise then pointwise."""

    def __init__(self, cin: int, cout: int, stride: int):
        super().__init__(_Conv(cin, cin, 3, stride, groups=cin), _Conv(cin, cout))


class _Inverted(nn.Module):
    """v2 block: expand, depthwise, project linearly; a residual where shapes allow."""

    def __init__(self, cin: int, cout: int, stride: int, expansion: int):
        super().__init__()
        wide = cin * expansion
        expand = [] if expansion == 1 else [_Conv(cin, wide)]
        self.layers = nn.Sequential(*expand, _Conv(wide, wide, 3, stride, groups=wide), _Conv(wide, cout, linear=True))
        self.residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class Tap(NamedTuple):
    """A point where features can be read: after block `block`, at `stride`, with `channels`."""

    block: int
    stride: int
    channels: int


class MobileNet(nn.Module):
    """A MobileNet trunk, cut after the last block of `last_stride`.

    `forward` takes float32 (n, 3, h, w) in [-1, 1], h and w multiples of 32, and gives one feature map per entry of
    `taps`, from fine to coarse: the last block's output at strides 2, 4, 8 ... `last_stride`.
    """

    def __init__(self, blocks: list[nn.Module], plan: list[Tap], last_stride: int):
        super().__init__()
        kept = [tap for tap in plan if tap.stride <= last_stride]
        self.blocks = nn.ModuleList(blocks[: len(kept)])
        self.taps = [a for a, b in zip(kept, [*kept[1:], None], strict=False) if b is None or b.stride != a.stride]

    def forward(self, x: Tensor) -> list[Tensor]:
        ends = {tap.block for tap in self.taps}
        out = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in ends:
                out.append(x)
        return out

    def load_imagenet(self, weights: Path) -> None:
        """Load the leading layers of `weights` (safetensors `convNN.weight|bias`); `WeightsMismatch` on a misfit."""
        if not weights.is_file():
            raise WeightsMismatch(
                f"{weights}: no such weights file; expected one of imagenet_weights/*.safetensors in LINEWATCH_DATA"
            )
        stored = load_file(weights)
        with torch.no_grad():
            for i, conv in enumerate(m for m in self.modules() if isinstance(m, nn.Conv2d)):
                for kind in ("weight", "bias"):
                    mine, theirs = getattr(conv, kind), stored.get(f"conv{i:02d}.{kind}")
                    if theirs is None or theirs.shape != mine.shape:
                        found = "nothing" if theirs is None else tuple(theirs.shape)
                        raise WeightsMismatch(
                            f"{weights.name}: conv{i:02d}.{kind} is {found}, expected {tuple(mine.shape)}; "
                            "use the file of the same MobileNet version and width"
                        )
                    mine.copy_(theirs)


def _v1(width: float, last_stride: int) -> MobileNet:
    outs = [64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    cin, stride = int(32 * width), 2
    blocks: list[nn.Module] = [_Conv(3, cin, 3, 2)]
    plan = [Tap(0, 2, cin)]
    for out, step in zip(outs, strides, strict=False):
        cout, stride = int(out * width), stride * step
        blocks.append(_Separable(cin, cout, step))
        plan.append(Tap(len(plan), stride, cout))
        cin = cout
    return MobileNet(blocks, plan, last_stride)


def _v2(last_stride: int, last_conv: bool) -> MobileNet:
    rows = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    cin, stride = 32, 2
    blocks: list[nn.Module] = [_Conv(3, cin, 3, 2)]
    plan = [Tap(0, 2, cin)]
    for expansion, cout, repeats, first in rows:
        for i in range(repeats):
            step = first if i == 0 else 1
            stride *= step
            blocks.append(_Inverted(cin, cout, step, expansion))
            plan.append(Tap(len(plan), stride, cout))
            cin = cout
    if last_conv:
        blocks.append(_Conv(cin, 1280))
        plan.append(Tap(len(plan), stride, 1280))
    return MobileNet(blocks, plan, last_stride)


ENCODERS = {
    "mobilenet_v1_0.25": "mobilenet_v1_0.25_128_quant_fp32.safetensors",
    "mobilenet_v1_0.5": "mobilenet_v1_0.5_160_quant_fp32.safetensors",
    "mobilenet_v2_1.0": "mobilenet_v2_1.0_224_quant_fp32.safetensors",
}


def make_encoder(name: str, last_stride: int = 32, weights: Path | None = None, last_conv: bool = False) -> MobileNet:
    """Return the encoder `name` of ENCODERS, cut after `last_stride`.

    `weights` is the folder `imagenet_weights`; None leaves the weights random. `last_conv` keeps v2's wide 1280-channel
    convolution, which ImageNet's classifier reads and dense tasks rarely need.
    """
    if name not in ENCODERS:
        raise WeightsMismatch(f"unknown encoder {name!r}; expected one of {', '.join(ENCODERS)}")
    version, width = name.removeprefix("mobilenet_").split("_")
    encoder = _v1(float(width), last_stride) if version == "v1" else _v2(last_stride, last_conv)
    if weights is not None:
        encoder.load_imagenet(weights / ENCODERS[name])
    return encoder


def fold_gray(encoder: MobileNet, planes: int = 1) -> None:
    """Make the first convolution take `planes` gray channels, with the same output as for three equal ones.

    The weights of the three channels are summed and divided evenly among `planes`.
    """
    stem = encoder.blocks[0]
    assert isinstance(stem, _Conv)
    old = stem.conv
    new = nn.Conv2d(planes, old.out_channels, 3, 2)
    with torch.no_grad():
        new.weight.copy_(old.weight.sum(1, keepdim=True).expand_as(new.weight) / planes)
        assert old.bias is not None
        assert new.bias is not None
        new.bias.copy_(old.bias)
    stem.conv = new
