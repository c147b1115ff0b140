"""The second stage: how probably a found instance is a true defect of its class, from the evidence there is of it."""

from typing import Annotated

import numpy as np
from pydantic import Field

from linewatch.contracts.closed import ClosedModel

REACH = 4.0
"""Standard deviations beyond which evidence counts no further: strip unlike any seen must not make a model certain."""
_LEAST = 1e-6

Weight = Annotated[float, Field(ge=-1e6, le=1e6)]
"""Log-odds a standard deviation; bounded, so that a sum of weights is always a number."""


class EvidenceWeight(ClosedModel):
    """How one piece of evidence counts. mean, spread: over the instances that the model was fitted on."""

    mean: float
    spread: float = Field(gt=0)
    weight: Weight


class ProbabilityModel(ClosedModel):
    """A logistic regression on the evidence that `decision.defects.evidence` gathers, in plain numbers.

    probability = 1 / (1 + exp(-(intercept + sum of weight * z))), z = (value - mean) / spread, held within +-REACH.
    """

    intercept: Weight
    evidence: dict[str, EvidenceWeight] = Field(description="by its name, in the order of the terms")
    tell_probability: Annotated[float, Field(ge=0, le=1)] = Field(
        description="instances below it are not published; [decision] tell_probability replaces it"
    )
    call_probability: Annotated[float, Field(ge=0, le=1)] = Field(
        description="instances below it are tentative; [decision] call_probability replaces it"
    )
    fitted_on: str = Field(description="the labels behind it, as text: sets, number of frames and instances")
    version: str = Field(description="differs between any two models of one engine")

    def log_odds(self, evidence: np.ndarray) -> np.ndarray:
        """Return the logarithm of the odds of each row: float64 (n, len(self.evidence)) to float64 (n,)."""
        mean, spread, weight = (
            np.array([getattr(one, part) for one in self.evidence.values()]) for part in ("mean", "spread", "weight")
        )
        standardised = ((evidence - mean) / spread).clip(-REACH, REACH)
        return np.asarray(self.intercept + (standardised * weight).sum(axis=1))


def log_odds(probability: np.ndarray | float) -> np.ndarray:
    """Return the logarithm of the odds of these probabilities, of the same shape; finite, as for at least 1e-6."""
    bounded = np.clip(probability, _LEAST, 1 - _LEAST)
    return np.asarray(np.log(bounded / (1 - bounded)))


def probability_of(log_odds: np.ndarray) -> np.ndarray:
    """Return the probabilities that belong to these log-odds, of the same shape."""
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -500, 500))))
