"""The specification of a registered network: its input, task, paper, training protocol and builder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from linewatch.contracts.manifest import Task
from linewatch.networks.pretrained import Source


@dataclass(frozen=True)
class NetworkSpec:
    """One network, which takes uint8 (n, 1, lines, width).

    classes: the number of classes in its paper. builder: called with `classes`, `weights` (see `pretrained.Source`) and
    the network's own options. protocol: the name of the training protocol that fits it. fixed_size: it takes no other
    size than lines x width; otherwise any multiples of 32. encoders: the values of its option `encoder`, if it has one.
    """

    name: str
    paper: str
    task: Task
    lines: int
    width: int
    classes: int
    builder: Callable[..., nn.Module]
    protocol: str
    fixed_size: bool = False
    encoders: tuple[str, ...] = ()

    def build(self, classes: int | None = None, weights: Source = None, **options: Any) -> nn.Module:
        """Return the network in train mode; `classes` defaults to the paper's."""
        return self.builder(classes=self.classes if classes is None else classes, weights=weights, **options)


DORZHIEV, KONOVALENKO = "Dorzhiev & Feiler", "Konovalenko et al."
APOSTOLOPOULOS, DAMACHARLA, KATEB = "Apostolopoulos & Tzani", "Damacharla et al. 2021", "Kateb et al. 2024"
HOUSE = "linewatch"
