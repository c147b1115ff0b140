"""Integer ranges: many at once, and those of true flags."""

import numpy as np


def ranges(begins: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return begin, begin + 1, ... of each range, concatenated: int64 (lengths.sum(),)."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return np.repeat(begins - ends + lengths, lengths) + np.arange(ends[-1] if len(ends) else 0)


def true_ranges(flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the ranges of true flags begin and where they stop: two int64 arrays of one length.

    flags: bool (n,).
    """
    padded = np.zeros(len(flags) + 2, bool)
    padded[1:-1] = flags
    bounds = np.flatnonzero(padded[1:] != padded[:-1])
    return bounds[::2], bounds[1::2]


def longest_range(flags: np.ndarray) -> int:
    """Return the most true flags side by side in any row of flags, bool (rows, n)."""
    return max((int((stops - begins).max()) for begins, stops in map(true_ranges, flags[flags.any(axis=1)])), default=0)
