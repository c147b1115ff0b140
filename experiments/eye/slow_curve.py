"""Draw the learning curve of the slow speed: networks trained anew on a part of the labelled frames.

``python -m experiments.eye.slow_curve --data DIR --out runs/slow [--device cuda] [--pictures docs/pictures]``. Each
share is drawn three times, and each draw trains a network for each fold that it leaves out. It may be stopped and
started again at any time; `--judge-only` draws what is finished so far. The whole is 50 networks of `--steps`
steps: some 55 core-hours on the two cores of the trial (3.5 s a step of eight crops), an hour on a GPU that does a step
in 0.06 s.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from experiments.eye import maps as frame_maps
from experiments.eye.curve import SEEDS, SHARES
from experiments.eye.judge import precision_and_recall
from experiments.eye.maps import load_networks, unseen
from experiments.eye.report import CALLED_PRECISION, instance_table, say
from linewatch.contracts.probability import probability_of
from linewatch.datasets.splits import FOLDS
from linewatch.training.house.inspect_fit import FoldTraining, InspectSettings, fit_all, load_network, state_file
from linewatch.training.samples.labelled_frames import CLASSES, Folds, LabelledFrame, read_frames


def parts(frames: Sequence[LabelledFrame]) -> Iterator[tuple[float, int, list[LabelledFrame]]]:
    """Yield each share, the seed of its draw, and the frames drawn, the smallest share first.

    A draw without a frame of some class cannot be trained on, and is drawn again.
    """
    for share in SHARES:
        for seed in range(SEEDS if share < 1 else 1):
            rng = np.random.default_rng([seed, round(share * 100)])
            chosen: list[LabelledFrame] = []
            while share and {k for frame in chosen for k in frame.classes} != set(range(len(CLASSES))):
                at = rng.choice(len(frames), round(share * len(frames)), replace=False)
                chosen = [frames[i] for i in sorted(at)]
            if chosen:
                yield share, seed, chosen


def finished(run: Path, steps: int) -> bool:
    """Return whether all networks of a run have had their steps."""
    files = [state_file(run, fold) for fold in range(FOLDS)]
    return all(file.is_file() and load_network(file)[1] >= steps for file in files)


def judged(run: Path, frames: Sequence[LabelledFrame], folds: Folds, chosen: Sequence[LabelledFrame]) -> float:
    """Return the recall of all true pieces at a precision of 0.80, one threshold for all frames.

    Each frame by the network without its fold, and by a second stage fitted on the other folds' chosen frames alone.
    """
    kept = run / "maps.npz"
    if not kept.is_file():
        frame_maps.write(unseen(frames, folds, load_networks(run)[0]), kept)
    table = instance_table(frames, folds, frame_maps.read(kept))
    names = {frame.name for frame in chosen}
    rows = np.array([one.frame.name in names for one in table.truth])[table.frame]
    probability = np.zeros(len(table.right))
    for fold in range(FOLDS):
        here = table.fold == fold
        probability[here] = probability_of(table.fitted(rows & ~here).log_odds(table.features[here]))
    _, precisions, recalls = precision_and_recall(table.judged(probability))
    good = np.flatnonzero(precisions >= CALLED_PRECISION)
    return float(recalls[good[-1]]) if len(good) else 0.0


def draw(curve: dict[float, list[float]], frames: int, path: Path) -> None:
    """Draw recall against labelled frames, with the range of the draws."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.subplots()
    at = [share * frames * (FOLDS - 1) / FOLDS for share in curve]
    axes.plot(at, [np.mean(each) for each in curve.values()], "o-")
    axes.fill_between(at, [min(each) for each in curve.values()], [max(each) for each in curve.values()], alpha=0.2)
    axes.set(
        xlabel="labelled frames", ylabel=f"recall of true pieces at a precision of {CALLED_PRECISION}", ylim=(0, 1)
    )
    figure.savefig(path, dpi=100)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/slow"))
    parser.add_argument("--steps", type=int, default=1120)
    parser.add_argument("--cool", type=int, default=200)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw a network's crops; for a GPU")
    parser.add_argument("--judge-only", action="store_true", help="train nothing")
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    frames, folds = read_frames(options.data), Folds.read()
    curve: dict[float, list[float]] = {}
    for share, seed, chosen in parts(frames):
        run = options.out / f"{share:.0%}-{seed}"
        settings = InspectSettings(
            steps=options.steps, cool=options.cool, device=options.device, workers=options.workers, seed=seed
        )
        if not options.judge_only and not finished(run, options.steps):
            weights = options.data / "imagenet_weights"
            fit_all(chosen, folds, [FoldTraining.begin(weights, state_file(run, k), settings) for k in range(FOLDS)])
        if finished(run, options.steps):
            curve.setdefault(share, []).append(judged(run, frames, folds, chosen))
            say(f"{share:.0%}, draw {seed}, {len(chosen)} frames: recall {curve[share][-1]:.3f}")
    if options.pictures and curve:
        draw(curve, len(frames), options.pictures / "learning-curve-slow.png")


if __name__ == "__main__":
    main()
