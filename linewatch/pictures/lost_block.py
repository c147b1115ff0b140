"""Blocks of zeros in uncompressed pixels, as a lost block of the file system leaves them."""

import re

_SECTOR = 512
_BLOCK = bytes(4096)
_NOT_ZERO = re.compile(rb"[^\0]")


def has_lost_block(data: bytes, offset: int = 0) -> bool:
    """Say whether 4 kB or more of zeros begin and end at a sector of the file, between other bytes.

    offset: where in the file the data begins. Black strip or background hardly begins and ends at multiples of 512
    bytes; where it surrounds a lost block, that block cannot be told from it.
    """
    at = data.find(_BLOCK)
    while at >= 0:
        behind = _NOT_ZERO.search(data, at)
        if behind is None:
            return False
        if at > 0 and (offset + at) % _SECTOR == 0 and (offset + behind.start()) % _SECTOR == 0:
            return True
        at = data.find(_BLOCK, behind.start())
    return False
