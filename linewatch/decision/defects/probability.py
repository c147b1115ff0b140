"""The second stage: how probably each piece of a frame is a true defect."""

import numpy as np

from linewatch.contracts.evidence import evidence_names
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.probability import ProbabilityModel, log_odds
from linewatch.decision.defects.pieces import Pieces


def log_odds_of(
    pieces: Pieces,
    prediction: Prediction,
    confidence: np.ndarray,
    evidence: np.ndarray,
    model: ProbabilityModel | None,
) -> np.ndarray:
    """Return the log-odds that each piece is a true defect: float64 (n,), finite.

    confidence: float64 (n,), the score of its class. evidence: float64 (n, names), as `evidence_of` gives it. Without a
    model the peak of an outlined piece counts as its probability, and the score of its class where a tile outlines it.
    """
    if model is None:
        return log_odds(np.where(pieces.tiled, confidence, pieces.peak / 255))
    at = {name: column for column, name in enumerate(evidence_names(prediction.classes))}
    return model.log_odds(evidence[:, [at[name] for name in model.evidence]])
