"""Two things measured in turns: how many times as fast is the one as the other?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class MedianRatio(NamedTuple):
    """Median of the rounds' ratios, and the 95 % bootstrap of that median."""

    ratio: float
    low: float
    high: float


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> MedianRatio:
    """Of rates measured in the same rounds, `ours` over `theirs`."""
    ratios = np.array(ours) / np.array(theirs)
    draws = np.median(np.random.default_rng(0).choice(ratios, (2000, len(ratios))), axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return MedianRatio(float(np.median(ratios)), float(low), float(high))
