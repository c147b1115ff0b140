"""Calibration of probabilities: whether of the instances that are told with probability p a share of p is true."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """Instances of similar probability: their number, mean probability, and the share of them that is true."""

    count: int
    probability: float
    true_share: float


def reliability(probability: NDArray[np.float64], true: NDArray[np.bool_], bins: int = BINS) -> list[ReliabilityBin]:
    """Return bins of equal count, from the lowest probability up; fewer where there are fewer instances."""
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [ReliabilityBin(len(part), float(probability[part].mean()), float(true[part].mean())) for part in parts]


def calibration_error(probability: NDArray[np.float64], true: NDArray[np.bool_], bins: int = BINS) -> float:
    """Return the expected calibration error over bins of equal count (Naeini et al. 2015).

    Few instances make it err upwards. No instances give NaN.
    """
    found = reliability(probability, true, bins)
    if not found:
        return float("nan")
    return sum(one.count * abs(one.probability - one.true_share) for one in found) / len(true)
