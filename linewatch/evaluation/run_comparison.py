"""Comparison of runs, image by image: box plots, convergence, differences (Damacharla et al., figures 4, 8 and 9).

``linewatch compare RUN RUN ... --out DIR`` compares the other runs with the first one.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from linewatch.contracts.errors import ConfigError
from linewatch.metrics.intervals import PairedDifference, paired
from linewatch.metrics.plots import box_plots, convergence, paired_histogram
from linewatch.training.fit import HISTORY
from linewatch.training.papers.joint import PER_IMAGE


def read_per_image(run: Path) -> dict[str, tuple[float, float]]:
    """Return Dice and IoU of the images with a defect, by file; `ConfigError` if the run has none."""
    path = run / PER_IMAGE
    if not path.is_file():
        raise ConfigError(f"{path}: not there; only runs of tlu_net keep Dice by image")
    with path.open(newline="") as handle:
        return {row["file"]: (float(row["dice"]), float(row["iou"])) for row in csv.DictReader(handle) if row["dice"]}


def compare(runs: Sequence[Path], out: Path) -> dict[str, PairedDifference]:
    """Draw `boxes.png`, `convergence.png` and `differences.png`; return each later run's Dice minus the first's.

    `ConfigError` unless there are two runs or more, evaluated on the same images.
    """
    if len(runs) < 2:
        raise ConfigError(f"{len(runs)} runs, expected two or more to compare")
    per_image = {run.name: read_per_image(run) for run in runs}
    files = sorted(next(iter(per_image.values())))
    for name, of in per_image.items():
        if sorted(of) != files:
            raise ConfigError(
                f"{name}: evaluated on other images than {runs[0].name}; train both with one split and seed"
            )
    values = {name: np.array([of[file] for file in files]) for name, of in per_image.items()}
    out.mkdir(parents=True, exist_ok=True)
    box_plots(
        {metric: {name: of[:, k] for name, of in values.items()} for k, metric in enumerate(("Dice", "IoU"))},
        out / "boxes.png",
    )
    histories = {name: path for run in runs for name, path in _histories(run).items()}
    convergence(histories, "val_dice", out / "convergence.png")
    first, *others = values
    differences: dict[str, NDArray[np.float64]] = {
        f"{other} minus {first}": values[other][:, 0] - values[first][:, 0] for other in others
    }
    paired_histogram(differences, out / "differences.png")
    return {other: paired(values[first][:, 0], values[other][:, 0], files) for other in others}


def _histories(run: Path) -> dict[str, Path]:
    """Return the history file of the run, or of each of its folds."""
    if (run / HISTORY).is_file():
        return {run.name: run / HISTORY}
    return {f"{run.name}, {path.parent.name}": path for path in sorted(run.glob(f"fold-*/{HISTORY}"))}
