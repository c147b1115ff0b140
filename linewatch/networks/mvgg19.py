"""Multipath VGG19 (Apostolopoulos & Tzani, "Industrial object, machine part and defect recognition ... The case of
multilevel VGG19", section 2.1 and Figure 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from linewatch.contracts.manifest import Task
from linewatch.networks.paper import GrayPlanes, PaperNetwork
from linewatch.networks.pretrained import Source, load_trunk
from linewatch.networks.spec import APOSTOLOPOULOS, NetworkSpec
from linewatch.networks.vgg import vgg_body

_PATHS = {2: 128, 3: 256, 4: 512}
"""The pools after which a path starts, and their channels."""


class MultipathVgg19(PaperNetwork):
    """uint8 (n, 1, h, w) to logits (n, classes).

    Beside VGG19's own output there are paths of batch norm, dropout and global average after pools 2, 3 and 4. All are
    joined, then follow dense 2500, batch norm, dropout 0.5, classes (softmax is in the loss). The paper says "the
    sequential output" and shows VGG19's convolutional blocks; here that output, of pool 5, is averaged like the paths',
    so that any size is accepted: 128 + 256 + 512 + 512 features. The paper gives no dropout rate for the paths; 0.5 is
    the rate that it gives elsewhere. It trains "the last layer" and freezes the rest; the paths' batch norms have
    weights of their own and are trained, too, else they would stay random.
    """

    def __init__(self, classes: int = 2, weights: Source = None, dense: int = 2500):
        super().__init__()
        self.planes = GrayPlanes()
        self.trunk = nn.Sequential()
        self.trunk.add_module("features", vgg_body(19, weights).features)
        if isinstance(weights, Path):
            load_trunk(self.trunk, weights)
        self.paths = nn.ModuleDict(
            {str(pool): nn.Sequential(nn.BatchNorm2d(channels), nn.Dropout(0.5)) for pool, channels in _PATHS.items()}
        )
        joined = sum(_PATHS.values()) + 512
        self.head = nn.Sequential(
            nn.Linear(joined, dense), nn.ReLU(), nn.BatchNorm1d(dense), nn.Dropout(0.5), nn.Linear(dense, classes)
        )

    def forward(self, image: Tensor) -> Tensor:
        x, pool, found = self.planes(image), 0, []
        for layer in self.trunk.features:  # type: ignore[union-attr]
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                pool += 1
                if pool in _PATHS:
                    found.append(self.paths[str(pool)](x).mean((2, 3)))
        return self.head(torch.cat([*found, x.mean((2, 3))], 1))

    def stages(self) -> Mapping[str, nn.Module]:
        pools = [layer for layer in self.trunk.features if isinstance(layer, nn.MaxPool2d)]  # type: ignore[union-attr]
        return {f"pool {number}": pool for number, pool in enumerate(pools, 1)}


SPECS = (NetworkSpec("mvgg19", APOSTOLOPOULOS, Task.CLASSIFY, 224, 224, 2, MultipathVgg19, "mvgg19"),)
