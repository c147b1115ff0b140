"""The registry of networks by name. A new network is a file with its `SPECS` and one line here."""

from __future__ import annotations

from linewatch.networks import (
    classifier,
    custom_cnn,
    inspect,
    mvgg19,
    nasnet_mobile,
    resnet,
    screen,
    tlu_net,
    unet,
    vgg,
)
from linewatch.networks.spec import NetworkSpec

_MODULES = (
    custom_cnn,
    vgg,
    resnet,
    mvgg19,
    tlu_net,
    nasnet_mobile,
    screen,
    classifier,
    unet,
    inspect,
)
NETWORKS: dict[str, NetworkSpec] = {spec.name: spec for module in _MODULES for spec in module.SPECS}
