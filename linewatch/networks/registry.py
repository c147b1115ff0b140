"""Every network by name: what it takes, whose it is, how it is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from linewatch.networks.classifier import TileClassifier
from linewatch.networks.custom_cnn import CustomCnn
from linewatch.networks.mvgg19 import MultipathVgg19
from linewatch.networks.nasnet_mobile import NasnetMobile
from linewatch.networks.pretrained import Source
from linewatch.networks.resnet import ResNet
from linewatch.networks.screen import Screen
from linewatch.networks.tlu_net import TluNet
from linewatch.networks.unet import MobileUNet
from linewatch.networks.vgg import Vgg


@dataclass(frozen=True)
class NetworkCard:
    """One network. It takes uint8 (n, 1, lines, width); `classes` is how many its paper has; `recipe` trains it."""

    name: str
    paper: str
    task: str
    lines: int
    width: int
    classes: int
    make: Callable[..., nn.Module]
    recipe: str
    options: tuple[str, ...] = ()
    """Names of the variants, each a whole network: encoders of TLU-Net."""

    def build(self, classes: int | None = None, weights: Source = None, **options: Any) -> nn.Module:
        """The network, in train mode; `weights` as in `pretrained.Source`."""
        return self.make(classes=self.classes if classes is None else classes, weights=weights, **options)


def _screen(classes: int, weights: Source) -> Screen:
    return Screen(relative=True, taps=3)


def _tile_classifier(classes: int, weights: Source) -> TileClassifier:
    return TileClassifier([2] * classes)


def _mobile_unet(classes: int, weights: Source) -> MobileUNet:
    return MobileUNet()


_DORZHIEV, _KONOVALENKO = "Dorzhiev & Feiler", "Konovalenko et al."
_APOSTOLOPOULOS, _DAMACHARLA, _KATEB = "Apostolopoulos & Tzani", "Damacharla et al. 2021", "Kateb et al. 2024"
_ALL = [
    NetworkCard("custom_cnn", _DORZHIEV, "classify", 200, 200, 6, CustomCnn, "custom_cnn"),
    NetworkCard("vgg11", _DORZHIEV, "classify", 200, 200, 6, partial(Vgg, 11), "vgg11"),
    NetworkCard("vgg16", _DORZHIEV, "classify", 200, 200, 6, partial(Vgg, 16), "vgg16"),
    NetworkCard("resnet34", _KONOVALENKO, "classify", 256, 256, 3, partial(ResNet, 34), "resnet34"),
    NetworkCard("resnet50", _KONOVALENKO, "classify", 256, 256, 3, partial(ResNet, 50), "resnet50"),
    NetworkCard("resnet152", _KONOVALENKO, "classify", 256, 256, 3, partial(ResNet, 152), "resnet152"),
    NetworkCard("vgg19", _APOSTOLOPOULOS, "classify", 224, 224, 2, partial(Vgg, 19), "vgg19"),
    NetworkCard("mvgg19", _APOSTOLOPOULOS, "classify", 224, 224, 2, MultipathVgg19, "mvgg19"),
    NetworkCard(
        "tlu_net",
        _DAMACHARLA,
        "segment",
        256,
        1600,
        4,
        TluNet,
        "tlu_net",
        ("resnet18", "densenet121", "mobilenet_v2", "mobilenet_v2_1.0"),
    ),
    NetworkCard("nasnet_mobile", _KATEB, "classify", 224, 224, 6, NasnetMobile, "nasnet_mobile"),
    NetworkCard("screen", "linewatch", "screen", 256, 1600, 1, _screen, "screen"),
    NetworkCard("tile_classifier", "linewatch", "classify", 256, 256, 13, _tile_classifier, "classify"),
    NetworkCard("mobile_unet", "linewatch", "segment", 256, 256, 1, _mobile_unet, "segment"),
]
NETWORKS: dict[str, NetworkCard] = {card.name: card for card in _ALL}
