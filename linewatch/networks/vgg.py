"""VGG11, VGG16, VGG19 (Simonyan & Zisserman 2014, arXiv:1409.1556), the last layer replaced, as Dorzhiev & Feiler and
Apostolopoulos & Tzani fine-tune them. Layers and weights are torchvision's.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torchvision
from torch import Tensor, nn

from linewatch.contracts.manifest import Task
from linewatch.networks.paper import GrayPlanes, PaperNetwork
from linewatch.networks.pretrained import HUB_ERRORS, Source, hub_unreachable, load_trunk
from linewatch.networks.spec import APOSTOLOPOULOS, DORZHIEV, NetworkSpec

DEPTHS = {11: torchvision.models.vgg11, 16: torchvision.models.vgg16, 19: torchvision.models.vgg19}


def vgg_body(depth: int, weights: Source) -> torchvision.models.VGG:
    """Return torchvision's whole VGG, from the hub for `imagenet`, else random; `WeightsMismatch` without a hub."""
    try:
        return DEPTHS[depth](weights="IMAGENET1K_V1" if weights == "imagenet" else None)
    except HUB_ERRORS as error:
        raise hub_unreachable(f"VGG{depth}", error) from error


class Vgg(PaperNetwork):
    """uint8 (n, 1, h, w), h and w at least 32, to logits (n, classes).

    The trunk is all but the last layer. Features of any size are pooled to 7 x 7, so images of 200 px need no scaling.
    """

    def __init__(self, depth: int, classes: int = 6, weights: Source = None):
        super().__init__()
        body = vgg_body(depth, weights)
        self.planes = GrayPlanes()
        self.trunk = nn.Sequential()
        self.trunk.add_module("features", body.features)
        self.trunk.add_module("avgpool", body.avgpool)
        self.trunk.add_module("flatten", nn.Flatten())
        self.trunk.add_module("classifier", body.classifier[:6])
        if isinstance(weights, Path):
            load_trunk(self.trunk, weights)
        self.head = nn.Linear(4096, classes)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.trunk(self.planes(image)))

    def stages(self) -> Mapping[str, nn.Module]:
        pools = [layer for layer in self.trunk.features if isinstance(layer, nn.MaxPool2d)]  # type: ignore[union-attr]
        return {f"pool {number}": pool for number, pool in enumerate(pools, 1)}


SPECS = (
    NetworkSpec("vgg11", DORZHIEV, Task.CLASSIFY, 200, 200, 6, partial(Vgg, 11), "vgg11"),
    NetworkSpec("vgg16", DORZHIEV, Task.CLASSIFY, 200, 200, 6, partial(Vgg, 16), "vgg16"),
    NetworkSpec("vgg19", APOSTOLOPOULOS, Task.CLASSIFY, 224, 224, 2, partial(Vgg, 19), "vgg19"),
)
