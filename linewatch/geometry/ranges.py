"""Many integer ranges at once."""

import numpy as np


def ranges(begins: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return begin, begin + 1, ... of each range, concatenated: int64 (lengths.sum(),)."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return np.repeat(begins - ends + lengths, lengths) + np.arange(ends[-1] if len(ends) else 0)
