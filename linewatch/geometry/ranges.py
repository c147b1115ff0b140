"""Ranges of whole numbers, many at once."""

import numpy as np


def ranges(begins: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """int64 (lengths.sum(),): begin, begin + 1, ... of each range, one after the other."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return np.repeat(begins - ends + lengths, lengths) + np.arange(ends[-1] if len(ends) else 0)
