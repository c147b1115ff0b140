"""Kinds of clean strip among the frames, told apart by eye from their pictures, before anything was judged by them."""

from __future__ import annotations

from typing import Final

TREAD_PLATES: Final = frozenset({"000789191", "0a3bbea4d", "0a65bd8d4", "0a76ac9b8", "f1a782eb5"})
"""With a raised pattern all over."""
PAINTED: Final = frozenset(
    {
        *("002e73b3c", "017d75655", "0198ab92d", "0a1cade03", "0a34e73df"),
        *("0bb3b11e1", "0bd505b1b", "0da6615e7", "1f1a35501"),
    }
)
"""With white marks of paint or chalk."""
STREAKED: Final = frozenset(
    {
        *("00c24a74c", "0a058fcb6", "0a427a066", "0a728f2a5"),
        *("0db39b46a", "1a1d0ced7", "000418bfc", "1f249ed4c"),
    }
)
"""Dark, with streaks of oil, stains or a speckled texture."""
PLAIN: Final = "plain"


def kind_of(name: str) -> str:
    """Return the kind of a clean frame."""
    kinds = {"tread plate": TREAD_PLATES, "painted": PAINTED, "streaked": STREAKED}
    return next((kind for kind, names in kinds.items() if name in names), PLAIN)
