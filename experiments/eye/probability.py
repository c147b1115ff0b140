"""The second stage: the probability that an instance is a true defect, from its features.

A logistic regression on standardised features. It is small enough to write down, its probability is calibrated by how
it is fitted (maximum likelihood), and it is fitted in seconds, so it can follow a mill's own labels. Each fold is
judged by a model that was fitted on the instances of the other folds, which in turn come from networks that had not
seen the frames they lie on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold

from experiments.eye.instances import Instance
from experiments.eye.judge import Judged, judge, threshold_at_precision
from linewatch.datasets.splits import FOLDS
from linewatch.training.samples.labelled_frames import Folds, LabelledFrame

Array = NDArray[np.float64]
PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Inverse strengths of the L2 penalty to choose from."""
_REACH = 4.0
"""Standard deviations beyond which a feature is not believed: the model must not run away on steel unlike any seen."""


@dataclass(frozen=True)
class Probability:
    """The fitted model in plain numbers, each array float64 (features,): probability = 1 / (1 + exp(-(intercept +
    weights . z))), z = (features - means) / spreads, bounded to +-4.
    """

    names: tuple[str, ...]
    means: Array
    spreads: Array
    weights: Array
    intercept: float

    def of(self, features: Array) -> Array:
        """Return the probability of each row: float64 (n, features) to float64 (n,)."""
        return 1 / (1 + np.exp(-(self.intercept + self._standardised(features) @ self.weights)))

    def _standardised(self, features: Array) -> Array:
        return ((features - self.means) / self.spreads).clip(-_REACH, _REACH)

    @classmethod
    def fit(cls, names: Sequence[str], features: Array, right: NDArray[np.bool_], groups: Sequence[int]) -> Probability:
        """Fit the model; the penalty is chosen by cross-validated likelihood over groups."""
        spreads = features.std(0)
        blank = cls(tuple(names), features.mean(0), np.where(spreads > 0, spreads, 1.0), np.zeros(len(names)), 0.0)
        seen = blank._standardised(features)
        losses = dict.fromkeys(PENALTIES, 0.0)
        for train, test in GroupKFold(FOLDS).split(seen, right, groups):
            for penalty in PENALTIES:
                model = _logistic(penalty).fit(seen[train], right[train])
                losses[penalty] += log_loss(right[test], model.predict_proba(seen[test]), labels=[False, True]) * len(
                    test
                )
        model = _logistic(min(losses, key=losses.__getitem__)).fit(seen, right)
        return cls(blank.names, blank.means, blank.spreads, model.coef_[0], float(model.intercept_[0]))

    def write(self, path: Path) -> None:
        """Write the model as JSON."""
        rows = {
            name: {"mean": mean, "spread": spread, "weight": weight}
            for name, mean, spread, weight in zip(
                self.names,
                *(np.round(part, 6).tolist() for part in (self.means, self.spreads, self.weights)),
                strict=True,
            )
        }
        path.write_text(json.dumps({"intercept": round(self.intercept, 6), "features": rows}, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Probability:
        """Read what `write` wrote."""
        stored = json.loads(path.read_text())
        names = tuple(stored["features"])
        means, spreads, weights = (
            np.array([stored["features"][name][part] for name in names]) for part in ("mean", "spread", "weight")
        )
        return cls(names, means, spreads, weights, stored["intercept"])


def _logistic(penalty: float) -> LogisticRegression:
    return LogisticRegression(C=penalty, max_iter=2000)


@dataclass(frozen=True)
class Table:
    """All instances of some frames in rows. truth: one per frame; fold_of_frame: int64 (frames,). frame, fold, group:
    int64 (n,) of each row; features: float64 (n, features); right: bool (n,), whether it lies on a true piece;
    usable: bool (n,), False where the frame's clean label is doubtful.
    """

    names: tuple[str, ...]
    truth: tuple[Judged, ...]
    fold_of_frame: NDArray[np.int64]
    frame: NDArray[np.int64]
    fold: NDArray[np.int64]
    group: NDArray[np.int64]
    features: Array
    right: NDArray[np.bool_]
    usable: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        frames: Sequence[LabelledFrame],
        folds: Folds,
        instances: Mapping[str, Sequence[Instance]],
        names: Sequence[str],
    ) -> Table:
        """Return the table of every frame's instances."""
        truth = [judge(one, folds.group[one.name], [each.found for each in instances[one.name]]) for one in frames]
        fold = np.array([folds.fold[frame.name] for frame in frames])
        at = np.repeat(np.arange(len(frames)), [len(one.found) for one in truth])
        rows = [each.features for frame in frames for each in instances[frame.name]]
        return cls(
            names=tuple(names),
            truth=tuple(truth),
            fold_of_frame=fold,
            frame=at,
            fold=fold[at],
            group=np.array([one.group for one in truth])[at],
            features=np.array(rows, np.float64).reshape(-1, len(names)),
            right=np.concatenate([one.right for one in truth]),
            usable=np.array([not frame.doubtful for frame in frames])[at],
        )

    def only(self, *names: str) -> Table:
        """Return the table with these features only."""
        columns = [self.names.index(name) for name in names]
        return replace(self, names=names, features=self.features[:, columns])

    def fitted(self, rows: NDArray[np.bool_]) -> Probability:
        """Return a model fitted on the usable ones of these rows."""
        kept = rows & self.usable
        return Probability.fit(self.names, self.features[kept], self.right[kept], self.group[kept].tolist())

    def crossed(self, rows: NDArray[np.bool_] | None = None) -> Array:
        """Return each row's probability by a model fitted on the rows of the other folds: float64 (n,).

        With `rows`, only these are used and get a probability; all others get 0.
        """
        rows = np.ones(len(self.right), bool) if rows is None else rows
        probability = np.zeros(len(rows))
        for fold in np.unique(self.fold[rows]):
            here = rows & (self.fold == fold)
            probability[here] = self.fitted(rows & ~here).of(self.features[here])
        return probability

    def judged(self, probability: Array, folds: Sequence[int] = range(FOLDS)) -> list[Judged]:
        """Return the frames of these folds with the probability of each instance."""
        return [
            one.believed(probability[self.frame == i])
            for i, (one, fold) in enumerate(zip(self.truth, self.fold_of_frame.tolist(), strict=True))
            if fold in folds
        ]

    def operated(self, least_precision: float) -> tuple[list[Judged], list[float]]:
        """Return all frames at an operating point chosen without their fold, and that point for each fold.

        The point is the lowest probability at which precision reaches `least_precision` on the other folds, whose own
        probabilities are crossed as well.
        """
        probability, kept, points = self.crossed(), [], []
        for fold in range(FOLDS):
            others = [other for other in range(FOLDS) if other != fold]
            inner = self.judged(self.crossed(self.fold != fold), others)
            points.append(threshold_at_precision(inner, least_precision))
            kept += [one.at(points[-1]) for one in self.judged(probability, [fold])]
        return kept, points


def calibration_error(probability: Array, right: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error over bins of equal count (Naeini et al. 2015); few instances make it err upwards."""
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return float(sum(len(part) * abs(probability[part].mean() - right[part].mean()) for part in parts) / len(order))
