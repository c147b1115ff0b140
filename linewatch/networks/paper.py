"""What the papers' networks have in common."""

from __future__ import annotations

from torch import nn


class PaperNetwork(nn.Module):
    """placeholder until the networks branch is merged"""

    trunk: nn.Module
    trunk_frozen = False

    def freeze_trunk(self, frozen: bool = True) -> None:
        self.trunk_frozen = frozen
        self.trunk.requires_grad_(not frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> PaperNetwork:
        super().train(mode)
        if self.trunk_frozen:
            self.trunk.eval()
        return self
