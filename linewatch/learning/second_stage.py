"""Fitting of the second stage: a logistic regression that tells from evidence how probably an instance is true.

It is small enough to stand in a manifest, maximum likelihood calibrates it, and it is fitted in seconds, so it can
follow a mill's own labels.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold

from linewatch.contracts.errors import SourceError
from linewatch.contracts.probability import REACH, EvidenceWeight, ProbabilityModel, probability_of
from linewatch.learning.instances import LabelledInstances

PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Inverse strengths of the L2 penalty, of which cross-validation chooses one."""
FOLDS = 5


def fit(instances: LabelledInstances, fitted_on: str) -> ProbabilityModel:
    """Return the model of these instances, which tells all (from probability 0) and calls from 0.5 on.

    The penalty is the one with the best likelihood in cross-validation over groups. fitted_on: for the manifest.
    Raises SourceError where there is nothing to learn: fewer than two groups, only true or only false instances, or no
    evidence.
    """
    _check(instances)
    penalties = np.array([_loss(instances, penalty) for penalty in PENALTIES])
    return _fitted(instances, PENALTIES[int(penalties.argmin())], fitted_on)


def crossed(instances: LabelledInstances) -> NDArray[np.float64]:
    """Return each instance's probability by a model fitted on other groups: float64 (n,). Raises SourceError as `fit`.

    The penalty is chosen anew without the instances that are judged.
    """
    _check(instances)
    probability = np.zeros(len(instances))
    for train, test in _folds(instances):
        part = instances.rows(train)
        probability[test] = probability_of(_fit_part(part).log_odds(instances.evidence[test]))
    return probability


def _fit_part(part: LabelledInstances) -> ProbabilityModel:
    """Return a model of a part, which may be too one-sided to choose a penalty: then the strictest one."""
    if len(np.unique(part.group)) < 2 or part.right.all() or not part.right.any():
        return _fitted(part, PENALTIES[0], "")
    return fit(part, "")


def _check(instances: LabelledInstances) -> None:
    groups, right, count = len(np.unique(instances.group)), int(instances.right.sum()), len(instances)
    if not instances.names:
        raise SourceError("a second stage needs evidence, found no name of any")
    if groups < 2 or right in (0, count):
        raise SourceError(
            f"a second stage needs true and false instances of at least two groups, found {right} true and "
            f"{count - right} false ones of {groups} groups; label more"
        )


def _folds(instances: LabelledInstances) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Return the rows to fit on and the rows to judge, of each fold."""
    number = min(FOLDS, len(np.unique(instances.group)))
    found = []
    for _, test in GroupKFold(number).split(instances.evidence, groups=instances.group):
        judged = np.zeros(len(instances), bool)
        judged[test] = True
        found.append((~judged, judged))
    return found


def _loss(instances: LabelledInstances, penalty: float) -> float:
    total = 0.0
    for train, test in _folds(instances):
        model = _fitted(instances.rows(train), penalty, "")
        said = probability_of(model.log_odds(instances.evidence[test]))
        total += log_loss(instances.right[test], said, labels=[False, True], normalize=False)
    return total


def _fitted(instances: LabelledInstances, penalty: float, fitted_on: str) -> ProbabilityModel:
    mean, spread = instances.evidence.mean(0), instances.evidence.std(0)
    # Evidence that does not vary, but for the rounding of its mean, says nothing.
    constant = spread <= 1e-9 * np.maximum(np.abs(mean), 1.0)
    spread = np.where(constant, 1.0, spread)
    weights = np.zeros(len(mean))
    if instances.right.all() or not instances.right.any():
        right = int(instances.right.sum())
        intercept = float(np.log((right + 0.5) / (len(instances) - right + 0.5)))
    else:
        seen = np.where(constant, 0.0, ((instances.evidence - mean) / spread).clip(-REACH, REACH))
        found = LogisticRegression(C=penalty, max_iter=2000).fit(seen, instances.right)
        weights, intercept = found.coef_[0], float(found.intercept_[0])
    rows = zip(instances.names, mean.tolist(), spread.tolist(), weights.tolist(), strict=True)
    model = ProbabilityModel(
        intercept=intercept,
        evidence={name: EvidenceWeight(mean=m, spread=s, weight=w) for name, m, s, w in rows},
        tell_probability=0.0,
        call_probability=0.5,
        fitted_on=fitted_on,
        version="",
    )
    return at(model, model.tell_probability, model.call_probability)


def at(model: ProbabilityModel, tell: float, call: float) -> ProbabilityModel:
    """Return the model with these probabilities, from which a defect is told and called, and its own version."""
    placed = model.model_copy(update={"tell_probability": tell, "call_probability": call, "version": ""})
    return placed.model_copy(update={"version": hashlib.sha256(placed.model_dump_json().encode()).hexdigest()[:12]})
