"""From which probability a defect is told, and from which it is called: a stated rule on cross-validated instances."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from linewatch.contracts.errors import ConfigError
from linewatch.contracts.probability import ProbabilityModel
from linewatch.learning.instances import LabelledInstances
from linewatch.learning.second_stage import at, crossed, fit

TOLD_PRECISION, CALLED_PRECISION = 0.60, 0.80


@dataclass(frozen=True)
class Rule:
    """What an operating point must reach: the share of true ones among the instances from it on, by weight; and at
    most so many false ones on a frame that is free of defects (None: any number).
    """

    precision: float
    false_per_clean_frame: float | None = None

    def __post_init__(self) -> None:
        """Raise ConfigError for what no instances can fulfil."""
        if not 0 <= self.precision <= 1:
            raise ConfigError(f"found a precision of {self.precision:g}, expected a share from 0 to 1, for example 0.8")
        if self.false_per_clean_frame is not None and not 0 <= self.false_per_clean_frame < math.inf:
            raise ConfigError(
                f"found {self.false_per_clean_frame:g} false calls on a clean frame, expected a number from 0, for "
                "example 0.02, one on 50 frames"
            )


TELL, CALL = Rule(TOLD_PRECISION), Rule(CALLED_PRECISION)


@dataclass(frozen=True)
class OperatingPoint:
    """A chosen probability and what the instances from it on are. recall: of the true instances. unmet: what
    of the rule could not be reached, as text; None: all was.
    """

    probability: float
    precision: float
    recall: float
    false_per_clean_frame: float | None  # None: no clean frame was looked at
    unmet: str | None


def choose(instances: LabelledInstances, probability: NDArray[np.float64], rule: Rule) -> OperatingPoint:
    """Return the lowest probability that fulfils the rule, which has the highest recall of those that do.

    probability: float64 (n,), crossed. Where the clean frames' limit and the precision cannot both be had, the
    precision alone decides, since a mill needs some calls, and clean frames may hold defects that nobody has drawn.
    Where no probability has the precision, the one with the best is taken. `unmet` says either.
    """
    thresholds = np.unique(-probability)
    order = np.argsort(-probability, kind="stable")
    last = np.searchsorted(-probability[order], thresholds, "right") - 1
    right = instances.right[order]
    false_on_clean = np.cumsum(instances.clean[order] & ~right)[last]
    rightly = np.cumsum(right)[last]
    precision, recall = rightly / (last + 1), rightly / max(rightly[-1], 1)
    frames = instances.clean_frames
    precise = precision >= rule.precision
    quiet = np.ones(len(thresholds), bool)
    if rule.false_per_clean_frame is not None and frames:
        quiet = false_on_clean <= rule.false_per_clean_frame * frames
    unmet = None
    if not precise.any():
        # The rarest instances have the best precision by chance: of equal ones the lowest probability.
        best = int(np.flatnonzero(precision == precision.max())[-1])
        unmet = f"no probability reaches a precision of {rule.precision:g}, the best is {precision[best]:.2f}"
    elif not (precise & quiet).any():
        best = int(np.flatnonzero(precise)[-1])
        unmet = (
            f"no probability keeps {rule.false_per_clean_frame:g} false calls on a clean frame at a precision of "
            f"{rule.precision:g}; chosen by precision alone"
        )
    else:
        best = int(np.flatnonzero(precise & quiet)[-1])
    return OperatingPoint(
        probability=_below(-float(thresholds[best]), -float(thresholds[best + 1]) if best + 1 < len(thresholds) else 0),
        precision=float(precision[best]),
        recall=float(recall[best]),
        false_per_clean_frame=float(false_on_clean[best] / frames) if frames else None,
        unmet=unmet,
    )


class FittedModel(NamedTuple):
    """A model at its operating points. probability: float64 (n,), of each instance by a model fitted without its group,
    by which the points were chosen.
    """

    model: ProbabilityModel
    told: OperatingPoint
    called: OperatingPoint
    probability: NDArray[np.float64]


def fit_with_points(instances: LabelledInstances, fitted_on: str, tell: Rule = TELL, call: Rule = CALL) -> FittedModel:
    """Fit a model and choose its operating points by cross-validation. Raises SourceError as `second_stage.fit`."""
    probability = crossed(instances)
    told, called = choose(instances, probability, tell), choose(instances, probability, call)
    model = at(fit(instances, fitted_on), told.probability, max(told.probability, called.probability))
    return FittedModel(model, told, called, probability)


def _below(lowest_in: float, highest_out: float) -> float:
    """Return a probability between the last instance within and the first without, short enough to read."""
    for digits in range(2, 16):
        middle = round((lowest_in + highest_out) / 2, digits)
        if highest_out < middle <= lowest_in:
            return middle
    return lowest_in
