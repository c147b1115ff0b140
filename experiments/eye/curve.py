"""Draw the learning curve of the mill's quick speed: called recall against the number of labelled frames.

``python -m experiments.eye.curve --data DIR --out runs/eye [--pictures docs/pictures]``, after `maps`.

The networks stay as they are; the second stage learns from a part of the labelled frames, as a mill's own labels would
come in. For each judged fold half of the other groups are the prior knowledge that comes with an engine, the other
half the mill's; both halves are the same for every share. Two mills: one whose strip looks like the engine's, and one
with another camera (blurred, darker, noisier), whose frames all go through `another_camera` before the networks see
them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from experiments.eye import maps as frame_maps
from experiments.eye.judge import precision_and_recall, score
from experiments.eye.maps import ALL_MIRRORS, load_networks, maps_of
from experiments.eye.probability import Array, Table
from experiments.eye.report import CALLED_PRECISION, instance_table, say
from linewatch.contracts.errors import SourceError
from linewatch.contracts.probability import probability_of
from linewatch.datasets.splits import FOLDS
from linewatch.learning.instances import LabelledInstances
from linewatch.learning.operating_point import fit_with_points
from linewatch.training.samples.labelled_frames import Folds, LabelledFrame, read_frames

SHARES = (0.0, 0.1, 0.25, 0.5, 1.0)
SEEDS = 3


@dataclass(frozen=True)
class LearnedPoint:
    """Recall and precision over all frames, each fold judged by a second stage that has not seen it.

    recall: at one threshold for all, where precision is 0.80. called_recall, called_precision: of what each fold's
    second stage calls at its own operating point, which nobody has chosen on the fold. log_loss: of an instance.
    """

    recall: float
    called_recall: float
    called_precision: float
    log_loss: float


@dataclass(frozen=True)
class Mill:
    """Whose labels come in. table: its frames' instances; prior: the same frames as the engine's makers saw them."""

    table: Table
    prior: Table

    def learned(self, share: float, seed: int, *, with_prior: bool) -> LearnedPoint:
        """Return how well a second stage judges that has this share of the mill's frames."""
        rng, table = np.random.default_rng(seed), self.table
        probability, called = np.zeros(len(table.right)), np.zeros(len(table.right))
        group = np.array([one.group for one in table.truth])
        for fold in range(FOLDS):
            groups = np.random.default_rng([fold, 1]).permutation(np.unique(group[table.fold_of_frame != fold]))
            theirs, mine = groups[: len(groups) // 2], groups[len(groups) // 2 :]
            frames = np.flatnonzero(np.isin(group, mine) & (table.fold_of_frame != fold))
            chosen = rng.choice(frames, round(share * len(frames)), replace=False)
            rows = _of_frames(table, np.isin(np.arange(len(table.truth)), chosen))
            if with_prior:
                rows = self._shipped(fold, theirs).joined(rows)
            here = table.fold == fold
            try:
                fitted = fit_with_points(rows, "")
            except SourceError:
                continue  # too little to learn from: nothing is told
            probability[here] = probability_of(fitted.model.log_odds(table.features[here]))
            called[here] = probability[here] >= fitted.model.call_probability
        return self._judged(probability, called)

    def _shipped(self, fold: int, groups: NDArray[np.int64]) -> LabelledInstances:
        group = np.array([one.group for one in self.prior.truth])
        return _of_frames(self.prior, np.isin(group, groups) & (self.prior.fold_of_frame != fold))

    def _judged(self, probability: Array, called: Array) -> LearnedPoint:
        table = self.table
        _, precisions, recalls = precision_and_recall(table.judged(probability))
        good = np.flatnonzero(precisions >= CALLED_PRECISION)
        of = score([one.at(0.5) for one in table.judged(called)]).figures
        right, bounded = table.right[table.usable], probability[table.usable].clip(1e-6, 1 - 1e-6)
        return LearnedPoint(
            float(recalls[good[-1]]) if len(good) else 0.0,
            of["recall"] or 0.0,
            of["precision"] or float("nan"),
            float(-np.log(np.where(right, bounded, 1 - bounded)).mean()),
        )


def _of_frames(table: Table, frames: NDArray[np.bool_]) -> LabelledInstances:
    return table.instances(frames[table.frame], frames)


def another_camera(gray: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Return the frame, uint8 (256, 1600), as a camera with a softer lens, less light and more noise would see it."""
    blurred = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), 1.2)
    noise = np.random.default_rng(seed).normal(0, 5, gray.shape)
    return (255 * (blurred / 255) ** 1.3 * 0.75 + noise).clip(0, 255).round().astype(np.uint8)


def by_another_camera(frames: Sequence[LabelledFrame], folds: Folds, run: Path) -> Table:
    """Return the instances that each fold's network finds in frames of another camera; its maps are kept in the run."""
    kept = run / "another-camera.npz"
    if not kept.is_file():
        networks, _ = load_networks(run)
        seen = {
            frame.name: maps_of(networks[folds.fold[frame.name]], another_camera(frame.gray(), number), ALL_MIRRORS)
            for number, frame in enumerate(frames)
        }
        frame_maps.write(seen, kept)
    return instance_table(frames, folds, frame_maps.read(kept))


def draw(curves: dict[str, dict[float, list[LearnedPoint]]], frames: float, path: Path) -> None:
    """Draw the curves of each mill, one line with the prior knowledge and one without."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for title, curve in curves.items():
        mill, _, how = title.partition(": ")
        axes = panels[int("another" in mill)]
        at = [share * frames for share in curve if curve[share][0].recall]
        drawn = [[point.recall for point in curve[share]] for share in curve if curve[share][0].recall]
        line = axes.plot(at, [np.mean(each) for each in drawn], "o-", label=how)[0]
        axes.fill_between(
            at, [min(each) for each in drawn], [max(each) for each in drawn], color=line.get_color(), alpha=0.2
        )
        axes.set(title=mill, xlabel="labelled frames of the mill", ylim=(0.4, 0.8))
    panels[0].set_ylabel(f"recall of true pieces at a precision of {CALLED_PRECISION}")
    panels[0].legend(loc="lower right")
    figure.savefig(path, dpi=100)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/eye"))
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    frames, folds = read_frames(options.data), Folds.read()
    table = instance_table(frames, folds, frame_maps.read(options.out / "maps.npz"))
    mills = {"like the engine's strip": Mill(table, table)}
    mills["another camera"] = Mill(by_another_camera(frames, folds, options.out), table)
    most = len(frames) * (FOLDS - 1) / FOLDS / 2
    curves: dict[str, dict[float, list[LearnedPoint]]] = {}
    for name, mill in mills.items():
        for how in ("with the engine's instances", "the mill's labels alone"):
            curve = curves.setdefault(f"{name}: {how}", {})
            say(f"{name}, {how}")
            for share in SHARES:
                seeds = range(SEEDS if 0 < share < 1 else 1)
                curve[share] = [mill.learned(share, seed, with_prior=how.startswith("with")) for seed in seeds]
                say(f"  {round(share * most):3d} frames: {_told(curve[share])}")
    if options.pictures:
        draw(curves, most, options.pictures / "learning-curve.png")


def _told(points: Sequence[LearnedPoint]) -> str:
    recalls = [one.recall for one in points]
    called, precision, loss = (
        np.mean([getattr(one, name) for one in points]) for name in ("called_recall", "called_precision", "log_loss")
    )
    return (
        f"recall {np.mean(recalls):.3f} ({min(recalls):.3f} to {max(recalls):.3f}) at {CALLED_PRECISION}; called by "
        f"its own operating point {called:.3f} at {precision:.3f}; log loss {loss:.3f}"
    )


if __name__ == "__main__":
    main()
