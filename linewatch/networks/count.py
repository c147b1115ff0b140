"""Parameters and operations of a network, counted without memory or computing for a large one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from linewatch.networks.spec import HOUSE, NetworkSpec


@dataclass(frozen=True)
class NetworkSize:
    """The size of a network.

    parameters: trained ones. keras_parameters: as Keras counts, with batch norm's running statistics. gflop: of one row
    of lines x width; a multiplication and an addition are two operations.
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


def size_of(spec: NetworkSpec, **options: Any) -> NetworkSize:
    """Return the size of the network as its paper has it."""
    with torch.device("cpu" if spec.paper == HOUSE else "meta"):  # the screen uses autocast, which meta lacks
        network = spec.build(**options).eval()
        image = torch.empty((1, 1, spec.lines, spec.width), dtype=torch.uint8)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    return NetworkSize(parameters(network), keras_parameters(network), counter.get_total_flops() / 1e9)
