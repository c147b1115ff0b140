"""EfficientNet-Lite trunks that start from ImageNet.

EfficientNet (Tan & Le 2019, arXiv:1905.11946) without squeeze-and-excitation and with ReLU6, as TensorFlow publishes it
for fixed-point hardware: "Lite". Stages scale in width and depth; the stem and the first and last stage keep their
depth. Module names are those of timm's `tf_efficientnet_lite1` and `2`, which the weights files use. TensorFlow pads
stride-2 convolutions unevenly and takes (pixel - 127) / 128; a stock module misloads such weights silently.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from linewatch.networks.mobilenet import Tap, WeightsMismatch
from linewatch.networks.pretrained import load_trunk

_STAGES = (
    # expansion, channels, repeats, kernel, stride: EfficientNet-B0, table 1 of the paper
    (1, 16, 1, 3, 1),
    (6, 24, 2, 3, 2),
    (6, 40, 2, 5, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)
_STEM = 32

ENCODERS = {
    "efficientnet_lite1": "tf_efficientnet_lite1_fp16.safetensors",
    "efficientnet_lite2": "tf_efficientnet_lite2_fp16.safetensors",
}
_WIDTHS = {"efficientnet_lite1": 1.0, "efficientnet_lite2": 1.1}
_DEPTHS = {"efficientnet_lite1": 1.1, "efficientnet_lite2": 1.2}


class _Conv(nn.Conv2d):
    """Convolution without a bias, with TensorFlow's SAME padding for even sizes."""

    def __init__(self, cin: int, cout: int, kernel: int = 1, stride: int = 1, groups: int = 1):
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(cin, cout, kernel, stride, padding=padding, groups=groups, bias=False)
        before, after = (kernel - 2) // 2, (kernel - 1) // 2
        self.same = (before, after, before, after) if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.same) if self.same else x)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class _Separable(nn.Module):
    """The first stage's block: depthwise, then pointwise and linear."""

    def __init__(self, cin: int, cout: int, kernel: int):
        super().__init__()
        self.conv_dw, self.bn1 = _Conv(cin, cin, kernel, groups=cin), _norm(cin)
        self.conv_pw, self.bn2 = _Conv(cin, cout), _norm(cout)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv_pw(F.relu6(self.bn1(self.conv_dw(x)))))


class _Inverted(nn.Module):
    """Expand, depthwise, project linearly; a residual where shapes allow."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = cin * expansion
        self.conv_pw, self.bn1 = _Conv(cin, wide), _norm(wide)
        self.conv_dw, self.bn2 = _Conv(wide, wide, kernel, stride, groups=wide), _norm(wide)
        self.conv_pwl, self.bn3 = _Conv(wide, cout), _norm(cout)
        self.residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu6(self.bn1(self.conv_pw(x)))
        out = self.bn3(self.conv_pwl(F.relu6(self.bn2(self.conv_dw(out)))))
        return x + out if self.residual else out


class EfficientNetLite(nn.Module):
    """The trunk without the classifier and without the wide convolution that only the classifier reads.

    `forward` takes float32 (n, planes, h, w), (pixel - 127) / 128, h and w multiples of 32, and gives one map per entry
    of `taps`, from fine to coarse: the last block's output at strides 2, 4, 8, 16 and 32. The first `frozen` stages
    (the stem belongs to the first) keep their weights and their running statistics.
    """

    def __init__(self, width: float, depth: float, planes: int = 3, frozen: int = 0):
        super().__init__()
        self.frozen = frozen
        self.conv_stem, self.bn1 = _Conv(planes, _STEM, 3, 2), _norm(_STEM)
        self.blocks = nn.ModuleList()
        cin, at, ends = _STEM, 2, {}
        for i, (expansion, channels, repeats, kernel, stride) in enumerate(_STAGES):
            cout, at = _rounded(channels * width), at * stride
            count = repeats if i in (0, len(_STAGES) - 1) else -int(-repeats * depth // 1)
            stage = nn.Sequential()
            for j in range(count):
                step = stride if j == 0 else 1
                stage.append(
                    _Separable(cin, cout, kernel) if expansion == 1 else _Inverted(cin, cout, kernel, step, expansion)
                )
                cin = cout
            self.blocks.append(stage)
            ends[at] = Tap(i, at, cout)
        self.taps = list(ends.values())
        for part in self._frozen_parts():
            part.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.stages(F.relu6(self.bn1(self.conv_stem(x))))

    def stages(self, x: Tensor) -> list[Tensor]:
        """Return the maps of `forward` from the stem's output."""
        ends = {tap.block for tap in self.taps}
        out = []
        for i, stage in enumerate(self.blocks):
            x = stage(x)
            if i in ends:
                out.append(x)
        return out

    def train(self, mode: bool = True) -> EfficientNetLite:
        """Switch modes as torch does, but keep frozen stages in inference mode."""
        super().train(mode)
        for part in self._frozen_parts():
            part.eval()
        return self

    def _frozen_parts(self) -> list[nn.Module]:
        return [self.conv_stem, self.bn1, *self.blocks[: self.frozen]] if self.frozen else []

    def load_imagenet(self, weights: Path) -> None:
        """Load the trunk's part of a weights file. Raises WeightsMismatch if it does not fit."""
        load_trunk(self, weights)


def _rounded(channels: float) -> int:
    """Round to a multiple of 8, at most a tenth downwards, as the paper's code does."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


def make_efficientnet_lite(
    name: str, planes: int = 3, weights: Path | None = None, frozen: int = 0
) -> EfficientNetLite:
    """Return the trunk `name` of ENCODERS. weights: the folder `imagenet_weights`; None: random weights.

    With other than three `planes`, each shows the gray image: the stem's weights for red, green and blue are summed
    and shared out evenly, which gives the answer of three equal channels.
    """
    if name not in ENCODERS:
        raise WeightsMismatch(f"unknown encoder {name!r}; expected one of {', '.join(ENCODERS)}")
    trunk = EfficientNetLite(_WIDTHS[name], _DEPTHS[name], frozen=frozen)
    if weights is not None:
        trunk.load_imagenet(weights / ENCODERS[name])
    if planes != 3:
        gray = _Conv(planes, _STEM, 3, 2)
        with torch.no_grad():
            gray.weight.copy_(trunk.conv_stem.weight.sum(1, keepdim=True).expand_as(gray.weight) / planes)
        trunk.conv_stem = gray.requires_grad_(not frozen)
    return trunk
