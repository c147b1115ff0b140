"""Levels packed as a camera packs them, bit by bit, after the descriptions of EMVA's PFNC and of GigE Vision."""

import numpy as np

from linewatch.capture.genicam.mono import MonoFormat


def packed(form: MonoFormat, levels: np.ndarray) -> np.ndarray:
    """Return the bytes (n,) of a picture of levels, uint16 (lines, width), in a pixel format."""
    flat = levels.reshape(-1)
    if form.bits == 8:
        return flat.astype(np.uint8)
    if not form.pixels:
        return flat.astype("<u2").view(np.uint8)
    if form.name.endswith("Packed"):  # two pixels: high bits, the low bits of both, high bits
        low = form.bits - 8
        first, second = flat[0::2], flat[1::2]
        middle = (first & (1 << low) - 1) | (second & (1 << low) - 1) << 4
        return np.stack([first >> low, middle, second >> low], axis=1).astype(np.uint8).reshape(-1)
    bits = (flat[:, None] >> np.arange(form.bits)) & 1  # one stream of bits, the lowest first
    return np.packbits(bits.astype(np.uint8).reshape(-1), bitorder="little")
