"""The second stage (`linewatch.learning.second_stage`) of the instances of labelled frames.

Each fold is judged by a model that was fitted on the instances of the other folds, which in turn come from networks
that had not seen the frames they lie on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from experiments.eye.instances import Instance
from experiments.eye.judge import Judged, judge, threshold_at_precision
from linewatch.contracts.probability import ProbabilityModel, probability_of
from linewatch.datasets.splits import FOLDS
from linewatch.learning.instances import LabelledInstances
from linewatch.learning.second_stage import fit
from linewatch.training.samples.labelled_frames import Folds, LabelledFrame

Array = NDArray[np.float64]


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

    def instances(self, rows: NDArray[np.bool_], frames: NDArray[np.bool_] | None = None) -> LabelledInstances:
        """Return the usable ones of these rows, as the second stage is fitted on them.

        frames: bool (frames,), those that the rows are of, also without an instance; None: all.
        """
        kept, clean = rows & self.usable, np.array([one.frame.clean and not one.frame.doubtful for one in self.truth])
        return LabelledInstances.of(
            self.names,
            self.features[kept],
            self.right[kept],
            self.group[kept],
            clean[self.frame][kept],
            int(clean.sum() if frames is None else clean[frames].sum()),
        )

    def fitted(self, rows: NDArray[np.bool_]) -> ProbabilityModel:
        """Return a model fitted on the usable ones of these rows."""
        return fit(self.instances(rows), f"{len(self.truth)} frames")

    def crossed(self, rows: NDArray[np.bool_] | None = None) -> Array:
        """Return each row's probability by a model fitted on the rows of the other folds: float64 (n,).

        With `rows`, only these are used and get a probability; all others get 0.
        """
        rows = np.ones(len(self.right), bool) if rows is None else rows
        probability = np.zeros(len(rows))
        for fold in np.unique(self.fold[rows]):
            here = rows & (self.fold == fold)
            probability[here] = probability_of(self.fitted(rows & ~here).log_odds(self.features[here]))
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
