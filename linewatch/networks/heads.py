"""What classify and segment share: the gray tile as an encoder's input."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

HALVING_PLANES = 4
"""Planes of `half_size_planes`; give `fold_gray` this number, and an ImageNet encoder starts as if it saw the tile at half size."""


def half_size_planes(image: Tensor) -> Tensor:
    """uint8 (n, 1, h, w) to float32 (n, 4, h/2, w/2) in [-1, 1]: each 2 x 2 block's pixels side by side, so that nothing is lost."""
    return F.pixel_unshuffle(image.float() / 127.5 - 1, 2)
