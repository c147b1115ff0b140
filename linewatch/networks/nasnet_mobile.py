"""NASNet-Mobile: NASNet-A (4 @ 1056) (Zoph et al. 2018, arXiv:1707.07012) with the top of Kateb et al. 2024
(doi:10.18280/ria.380232). No maintained library has it for torch; cells, order and paddings are Keras'.

Keras counts 4,376,022 parameters for six classes, batch-norm statistics included, 106,306 of them in the new top, as
the paper says; its "5.3 million" is the original with the ImageNet top.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from linewatch.contracts.manifest import Task
from linewatch.networks.mobilenet import WeightsMismatch
from linewatch.networks.paper import PaperNetwork, SignedPlanes
from linewatch.networks.pretrained import Source, load_trunk
from linewatch.networks.spec import KATEB, NetworkSpec

_FILTERS = 1056 // 24
Activation = Literal["elu", "relu", "sigmoid", "tanh"]
_ACTIVATIONS: dict[str, type[nn.Module]] = {"elu": nn.ELU, "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


def _norm(channels: int) -> nn.BatchNorm2d:
    """Return a batch norm with torch's momentum of 0.1.

    Keras' 0.0003 is for millions of ImageNet steps; fine-tuning of a thousand steps would never leave its initial
    statistics, which may be the instability that the paper reports.
    """
    return nn.BatchNorm2d(channels, eps=1e-3)


def _padded(x: Tensor, kernel: int) -> Tensor:
    """Pad with zeros so that a stride-2 window of `kernel` gives half the size, rounded up, like Keras' correct_pad."""
    lines, width = x.shape[-2:]
    half = kernel // 2
    return F.pad(x, (half - 1 + width % 2, half, half - 1 + lines % 2, half))


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class _DoubleSeparable(nn.Module):
    """ReLU, separable convolution, norm, twice; the stride is the first one's."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1):
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.depth1 = nn.Conv2d(cin, cin, kernel, stride, kernel // 2 if stride == 1 else 0, groups=cin, bias=False)
        self.point1, self.norm1 = nn.Conv2d(cin, cout, 1, bias=False), _norm(cout)
        self.depth2 = nn.Conv2d(cout, cout, kernel, 1, kernel // 2, groups=cout, bias=False)
        self.point2, self.norm2 = nn.Conv2d(cout, cout, 1, bias=False), _norm(cout)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        x = self.norm1(self.point1(self.depth1(_padded(x, self.kernel) if self.stride == 2 else x)))
        return self.norm2(self.point2(self.depth2(F.relu(x))))


class _Squeeze(nn.Module):
    """ReLU, 1 x 1 convolution, norm."""

    def __init__(self, cin: int, cout: int):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(cin, cout, 1, bias=False), _norm(cout)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(F.relu(x)))


class _Halve(nn.Module):
    """Halves the output before the last one: two 1 x 1 convolutions over every other pixel, one of them shifted."""

    def __init__(self, cin: int, cout: int):
        super().__init__()
        self.even = nn.Conv2d(cin, cout // 2, 1, 2, bias=False)
        self.odd = nn.Conv2d(cin, cout // 2, 1, 2, bias=False)
        self.norm = _norm(cout // 2 * 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        return self.norm(torch.cat([self.even(x), self.odd(F.pad(x, (0, 1, 0, 1))[..., 1:, 1:])], 1))


class _Cell(nn.Module):
    """The start of both kinds of cell: the last output is squeezed to h, the one before it adjusted to p."""

    def __init__(self, cin: int, before: int | None, filters: int, halve: bool):
        super().__init__()
        self.squeeze = _Squeeze(cin, filters)
        self.adjust: nn.Module
        if before is None:
            self.adjust, self.before = nn.Identity(), cin
        elif halve:
            self.adjust, self.before = _Halve(before, filters), filters // 2 * 2
        elif before != filters:
            self.adjust, self.before = _Squeeze(before, filters), filters
        else:
            self.adjust, self.before = nn.Identity(), filters


class _Normal(_Cell):
    def __init__(self, cin: int, before: int | None, filters: int, halve: bool):
        super().__init__(cin, before, filters, halve)
        self.out = 6 * filters
        self.left1, self.right1 = _DoubleSeparable(filters, filters, 5), _DoubleSeparable(self.before, filters, 3)
        self.left2, self.right2 = _DoubleSeparable(self.before, filters, 5), _DoubleSeparable(self.before, filters, 3)
        self.left5 = _DoubleSeparable(filters, filters, 3)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        p, h = self.adjust(before), self.squeeze(x)
        return torch.cat(
            [
                p,
                self.left1(h) + self.right1(p),
                self.left2(p) + self.right2(p),
                _average(h) + p,
                2 * _average(p),
                self.left5(h) + h,
            ],
            1,
        )


class _Reduction(_Cell):
    def __init__(self, cin: int, before: int | None, filters: int, halve: bool):
        super().__init__(cin, before, filters, halve)
        self.out = 4 * filters
        self.left1, self.right1 = _DoubleSeparable(filters, filters, 5, 2), _DoubleSeparable(self.before, filters, 7, 2)
        self.right2 = _DoubleSeparable(self.before, filters, 7, 2)
        self.right3 = _DoubleSeparable(self.before, filters, 5, 2)
        self.left5 = _DoubleSeparable(filters, filters, 3)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        p, h = self.adjust(before), self.squeeze(x)
        around = _padded(h, 3)
        highest = F.max_pool2d(around, 3, 2)
        first = self.left1(h) + self.right1(p)
        second = highest + self.right2(p)
        third = F.avg_pool2d(around, 3, 2) + self.right3(p)
        return torch.cat([second, third, second + _average(first), self.left5(first) + highest], 1)


class NasnetTrunk(nn.Module):
    """float32 (n, 3, h, w) in [-1, 1] to features (n, 1056, h / 32, w / 32), rounded up."""

    def __init__(self, filters: int = _FILTERS, repeats: int = 4):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 32, 3, 2, bias=False), _norm(32)
        cells: list[_Normal | _Reduction] = []
        last, before, halved = 32, None, False
        plan: list[tuple[type[_Normal] | type[_Reduction], int]] = [
            (_Reduction, filters // 4),
            (_Reduction, filters // 2),
        ]
        for scale in (1, 2, 4):
            plan += ([(_Reduction, filters * scale)] if scale > 1 else []) + [(_Normal, filters * scale)] * repeats
        for kind, width in plan:
            cell = kind(last, before, width, halved)
            cells.append(cell)
            last, before, halved = cell.out, last, kind is _Reduction
        self.cells = nn.ModuleList(cells)
        self.channels = last

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        before = x
        for cell in self.cells:
            x, before = cell(x, before), x
        return F.relu(x)


class NasnetMobile(PaperNetwork):
    """uint8 (n, 1, h, w) to logits (n, classes): trunk, global average, dropout 0.2, dense 100 with ELU, classes.

    `activation` is the dense layer's, for the paper's Table 6. A trunk's weights come from a file of linewatch; no hub
    has them for torch, so `imagenet` is refused.
    """

    def __init__(self, classes: int = 6, weights: Source = None, activation: Activation = "elu"):
        super().__init__()
        self.planes, self.trunk = SignedPlanes(3), NasnetTrunk()
        if weights == "imagenet":
            raise WeightsMismatch(
                "no hub has NASNet-Mobile's ImageNet weights for torch; train a trunk with "
                "`linewatch train nasnet_mobile` on other sets and name its trunk.safetensors with --weights"
            )
        if isinstance(weights, Path):
            load_trunk(self.trunk, weights)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(self.trunk.channels, 100),
            _ACTIVATIONS[activation](),
            nn.Linear(100, classes),
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.trunk(self.planes(image)))

    def stages(self) -> Mapping[str, nn.Module]:
        assert isinstance(self.trunk, NasnetTrunk)
        return {f"cell {number}": self.trunk.cells[number] for number in (1, 5, 6, 10, 11, 15)}


SPECS = (NetworkSpec("nasnet_mobile", KATEB, Task.CLASSIFY, 224, 224, 6, NasnetMobile, "nasnet_mobile"),)
