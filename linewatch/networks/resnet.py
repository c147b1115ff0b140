"""ResNet34, 50, 152 (He et al. 2015, arXiv:1512.03385) as multi-label classifiers of strip crops (Konovalenko et al.,
"Classification of Rolled Metal Defects Using Residual Neural Networks"). Layers and weights are torchvision's.

The paper names ResNet36, 50 and 152; He et al. have no 36, so their 34 must be meant.
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
from linewatch.networks.spec import KONOVALENKO, NetworkSpec

DEPTHS = {34: torchvision.models.resnet34, 50: torchvision.models.resnet50, 152: torchvision.models.resnet152}


class ResNet(PaperNetwork):
    """uint8 (n, 1, h, w) to logits (n, classes), one sigmoid each; the last layer is one linear of `classes`."""

    def __init__(self, depth: int, classes: int = 3, weights: Source = None):
        super().__init__()
        try:
            body = DEPTHS[depth](weights="IMAGENET1K_V1" if weights == "imagenet" else None)
        except HUB_ERRORS as error:
            raise hub_unreachable(f"ResNet{depth}", error) from error
        features = body.fc.in_features
        body.fc = nn.Identity()
        self.planes, self.trunk = GrayPlanes(), body
        if isinstance(weights, Path):
            load_trunk(self.trunk, weights)
        self.head = nn.Linear(features, classes)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.trunk(self.planes(image)))

    def stages(self) -> Mapping[str, nn.Module]:
        return {name: getattr(self.trunk, name) for name in ("relu", "layer1", "layer2", "layer3", "layer4")}


SPECS = tuple(
    NetworkSpec(f"resnet{depth}", KONOVALENKO, Task.CLASSIFY, 256, 256, 3, partial(ResNet, depth), f"resnet{depth}")
    for depth in DEPTHS
)
