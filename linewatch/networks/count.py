"""How large a network is: parameters and operations, counted without computing or holding anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from linewatch.networks.registry import NetworkCard


@dataclass(frozen=True)
class NetworkSize:
    """parameters: what is trained. keras_parameters: as Keras counts, batch norm's running statistics included.
    gflop: of one row of lines x width, a multiplication and an addition being two.
    """

    parameters: int
    keras_parameters: int
    gflop: float


def parameters(network: nn.Module) -> int:
    return sum(each.numel() for each in network.parameters())


def keras_parameters(network: nn.Module) -> int:
    statistics = [
        each.numel() for name, each in network.named_buffers() if name.endswith(("running_mean", "running_var"))
    ]
    return parameters(network) + sum(statistics)


def size_of(card: NetworkCard, **options: Any) -> NetworkSize:
    """Of the network as its paper has it; a paper's on the `meta` device, the house's small ones for real."""
    with torch.device("cpu" if card.paper == "linewatch" else "meta"):  # meta knows no autocast
        network = card.build(**options).eval()
        image = torch.empty((1, 1, card.lines, card.width), dtype=torch.uint8)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    return NetworkSize(parameters(network), keras_parameters(network), counter.get_total_flops() / 1e9)
