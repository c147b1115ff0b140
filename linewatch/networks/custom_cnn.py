"""The custom CNN of Dorzhiev & Feiler, "2D Image Classification of Steel Strip Surface Defects", Table I."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from linewatch.contracts.manifest import Task
from linewatch.networks.paper import PaperNetwork, SignedPlanes
from linewatch.networks.pretrained import Source, load_trunk
from linewatch.networks.spec import DORZHIEV, NetworkSpec


class CustomCnn(PaperNetwork):
    """uint8 (n, 1, 200, 200) to logits (n, classes).

    Convolution 15, pool, ReLU + BN, convolution 11, pool, ReLU + BN, 64 * 41^2 -> 512, ReLU, dropout 0.3, classes. The
    table's sizes 184, 92, 82, 41 do not match its layers: without padding 200 - 15 + 1 is 186 (184 would need a filter
    of 17), pooled 93, then 93 - 11 + 1 = 83, pooled 41. The last size matches again, so the dense layer is the paper's.
    The table names no activation after the first dense layer; section IV chooses ReLU.
    """

    def __init__(self, classes: int = 6, weights: Source = None):
        super().__init__()
        self.planes = SignedPlanes(1)
        self.trunk = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(1, 32, 15),
                pool1=nn.MaxPool2d(2),
                relu1=nn.ReLU(),
                norm1=nn.BatchNorm2d(32),
                conv2=nn.Conv2d(32, 64, 11),
                pool2=nn.MaxPool2d(2),
                relu2=nn.ReLU(),
                norm2=nn.BatchNorm2d(64),
            )
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(64 * 41**2, 512), nn.ReLU(), nn.Dropout(0.3), nn.Linear(512, classes)
        )
        if isinstance(weights, Path):
            load_trunk(self.trunk, weights)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.trunk(self.planes(image)))

    def stages(self) -> Mapping[str, nn.Module]:
        return {"conv 15": self.trunk.norm1, "conv 11": self.trunk.norm2}  # type: ignore[dict-item]


SPECS = (NetworkSpec("custom_cnn", DORZHIEV, Task.CLASSIFY, 200, 200, 6, CustomCnn, "custom_cnn", fixed_size=True),)
