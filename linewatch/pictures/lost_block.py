"""Blocks of zeros in uncompressed pixels, as a lost block of the file system leaves them."""

import re

_SECTOR = 512
_BLOCK = bytes(4096)
_NOT_ZERO = re.compile(rb"[^\0]")


def has_lost_block(data: bytes, line_bytes: int, offset: int = 0) -> bool:
    """Say whether 4 kB or more of zeros begin and end at a sector of the file, between other bytes.

    So do whole blocks of 4 kB that begin within a line, as a network share or a copy loses them. line_bytes: of the
    pixels of a line; the data begins with a line. offset: where in the file the data begins. Black strip or background
    hardly begins and ends at multiples of 512 bytes; a lost block that it surrounds cannot be told from it.
    """
    at = data.find(_BLOCK)
    while at >= 0:
        behind = _NOT_ZERO.search(data, at)
        if behind is None:
            return False
        aligned = (offset + at) % _SECTOR == 0 and (offset + behind.start()) % _SECTOR == 0
        if at > 0 and (aligned or ((behind.start() - at) % len(_BLOCK) == 0 and at % line_bytes)):
            return True
        at = data.find(_BLOCK, behind.start())
    return False
