"""A network of a few thousand weights, for tests of what is around networks: it trains in a moment."""

from collections.abc import Mapping

import pytest
from torch import Tensor, nn

from linewatch.contracts.manifest import Task
from linewatch.networks.paper import PaperNetwork, SignedPlanes
from linewatch.networks.pretrained import Source
from linewatch.networks.registry import NETWORKS
from linewatch.networks.spec import NetworkSpec


class SmallCnn(PaperNetwork):
    """uint8 (n, 1, h, w) to logits (n, classes)."""

    def __init__(self, classes: int = 6, weights: Source = None) -> None:
        super().__init__()
        assert weights is None
        self.planes = SignedPlanes(1)
        layers: list[nn.Module] = []
        for wide, wider in ((1, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(wide, wider, 3, stride=2, padding=1), nn.BatchNorm2d(wider), nn.ReLU()]
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64 * 16, classes))

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.trunk(self.planes(image)))

    def stages(self) -> Mapping[str, nn.Module]:
        return {"features": self.trunk[-1]}


@pytest.fixture
def small_cnn(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the network, which is registered for the test."""
    name = "small_cnn"
    monkeypatch.setitem(NETWORKS, name, NetworkSpec(name, "none", Task.CLASSIFY, 64, 64, 6, SmallCnn, "custom_cnn"))
    return name
