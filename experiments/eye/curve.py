"""Draw recall against the number of labelled frames, with the networks fixed.

``python -m experiments.eye.curve --data DIR --out runs/eye``, after `maps`.

The networks stay as they are; the second stage is fitted on a part of the labelled frames, as a mill's own labels would
come in. For each part, the recall of true pieces at the lowest probability that keeps a precision of 0.80.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from experiments.eye import maps as frame_maps
from experiments.eye.judge import precision_and_recall
from experiments.eye.probability import Array, Table
from experiments.eye.report import CALLED_PRECISION, instance_table, say
from linewatch.datasets.splits import FOLDS
from linewatch.training.samples.labelled_frames import Folds, read_frames

SHARES = (0.1, 0.25, 0.5, 1.0)
SEEDS = range(5)


def recall_at(table: Table, probability: Array, least: float) -> float:
    """Return the recall over all frames, at one threshold for all of them."""
    _, precisions, recalls = precision_and_recall(table.judged(probability))
    good = np.flatnonzero(precisions >= least)
    return float(recalls[good[-1]]) if len(good) else 0.0


def with_part(table: Table, share: float, seed: int) -> Array:
    """Return each row's probability by a model fitted on this share of the other folds' frames: float64 (n,)."""
    rng, probability = np.random.default_rng(seed), np.zeros(len(table.right))
    for fold in range(FOLDS):
        others = np.flatnonzero(table.fold_of_frame != fold)
        chosen = rng.choice(others, max(1, round(share * len(others))), replace=False)
        here = table.fold == fold
        probability[here] = table.fitted(np.isin(table.frame, chosen)).of(table.features[here])
    return probability


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/eye"))
    options = parser.parse_args()
    table = instance_table(read_frames(options.data), Folds.read(), frame_maps.read(options.out / "maps.npz"))
    peak = table.features[:, table.names.index("peak")]
    say(f"no frame, by the peak alone: {recall_at(table, peak, CALLED_PRECISION):.3f}")
    for share in SHARES:
        recalls = [recall_at(table, with_part(table, share, seed), CALLED_PRECISION) for seed in SEEDS]
        frames = round(share * len(table.truth) * (FOLDS - 1) / FOLDS)
        told = f"{np.mean(recalls):.3f} ({min(recalls):.3f} to {max(recalls):.3f} over {len(recalls)} draws)"
        say(f"{share:.0%}, {frames} frames: {told}")


if __name__ == "__main__":
    main()
