"""Line plots: learning curves, convergence, precision against recall, ROC, metrics against the threshold."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from linewatch.metrics.curves import ThresholdCurve, auc
from linewatch.metrics.plots.drawing import (
    BLACK,
    BLUE,
    GRAY,
    GREEN,
    HALO,
    PALE,
    VERMILION,
    NothingToDraw,
    drawing,
    panels,
    whole_epochs,
)

_COORDINATES = ("epoch", "step")
_PARTS = {"train": BLUE, "val": VERMILION}


def learning_curves(history: Path, out: Path) -> None:
    """Draw every metric in a run's `history.csv` against epochs, training and validation in one panel, losses first.

    A metric is named `train_NAME` or `val_NAME`; a name without a part belongs to training. `NothingToDraw` if nothing
    was logged.
    """
    columns = logged(history)
    of_metric: dict[str, dict[str, NDArray[np.float64]]] = {}
    for column in columns.keys() - set(_COORDINATES):
        part, _, metric = column.partition("_")
        metric, part = (metric, part) if part in _PARTS else (column, "train")
        of_metric.setdefault(metric, {})[part] = columns[column]
    order = sorted(of_metric, key=lambda metric: ("loss" not in metric, metric))
    rows = -(-len(order) // 2)
    with drawing(out, 1100 if len(order) > 1 else 800, 120 + 330 * rows) as sheet:
        for axes, metric in zip(panels(sheet, len(order), 2), order, strict=True):
            axes.set(title=metric, xlabel="epoch")
            for part, values in sorted(of_metric[metric].items()):
                _line(axes, columns["epoch"], values, color=_PARTS[part], linestyle="-", label=part)
            whole_epochs(axes)
            if len(of_metric[metric]) > 1:
                axes.legend()


def convergence(runs: Mapping[str, Path], metric: str, out: Path) -> None:
    """Draw one metric (`val_dice`) of several runs against epochs (Damacharla et al., fig. 8).

    Each run is given by its `history.csv`. `NothingToDraw` names a run that did not log the metric.
    """
    with drawing(out, 900, 560) as sheet:
        axes = sheet.add_subplot(xlabel="epoch", ylabel=metric)
        whole_epochs(axes)
        for name, path in runs.items():
            columns = logged(path)
            if metric not in columns:
                raise NothingToDraw(f"{path}: no column {metric}, expected one of {', '.join(columns)}")
            _line(axes, columns["epoch"], columns[metric], label=name)
        axes.legend()


def pr_and_roc(scores: ArrayLike, truth: ArrayLike, classes: Sequence[str], out: Path) -> None:
    """Draw precision against recall, and the ROC curve, of each class against the rest; scores and truth are (n, C).

    Classes that always or never occur have neither.
    """
    score, true = np.asarray(scores, np.float64), np.asarray(truth, bool)
    with drawing(out, 1150, 560) as sheet:
        left = sheet.add_subplot(1, 2, 1, title="precision and recall", xlabel="recall", ylabel="precision")
        right = sheet.add_subplot(
            1, 2, 2, title="ROC", xlabel="false positives among what is not of the class", ylabel="recall"
        )
        right.plot([0, 1], [0, 1], color=PALE, linestyle="-", linewidth=1)
        right.set_prop_cycle(None)
        drawn = False
        for k, name in enumerate(classes):
            area = auc(score[:, k], true[:, k])
            if area is None:
                continue
            curve = ThresholdCurve.of(score[:, k], true[:, k])
            left.step(curve.recall[::-1], curve.precision[::-1], where="pre", label=name)
            roc = np.append(0, curve.false_positive_rate), np.append(0, curve.recall)
            right.plot(*roc, label=f"{name}  {area:.3f}")
            drawn = True
        if not drawn:
            raise NothingToDraw(f"no class of {', '.join(classes)} occurs in some samples and lacks in others")
        for axes in (left, right):
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
        right.legend(loc="lower right", title="area under the curve", fontsize=10)


def threshold_curves(
    scores: ArrayLike, truth: ArrayLike, classes: Sequence[str], thresholds: ArrayLike, out: Path
) -> None:
    """Draw precision, recall and F1 of each class against its threshold (Konovalenko et al., fig. 2c).

    Scores are in [0, 1], (n, C) as truth. `thresholds`, one for all classes or one each, are marked.
    """
    score, true = np.asarray(scores, np.float64), np.asarray(truth, bool)
    chosen = np.broadcast_to(np.asarray(thresholds, np.float64), len(classes))
    columns = min(3, len(classes))
    with drawing(out, max(800, 380 * columns), 90 + 320 * -(-len(classes) // columns)) as sheet:
        for k, axes in enumerate(panels(sheet, len(classes), columns)):
            support = int(true[:, k].sum())
            axes.set(title=f"{classes[k]}, {support} of {len(true)}", xlabel="threshold", xlim=(0, 1), ylim=(0, 1.04))
            if not support:
                axes.text(0.5, 0.5, "does not occur", ha="center", color=GRAY)
                continue
            curve = ThresholdCurve.of(score[:, k], true[:, k])
            for values, label, colour, width in (
                (curve.precision, "precision", BLUE, None),
                (curve.recall, "recall", VERMILION, None),
                (curve.f1, "F1", BLACK, 2.4),
            ):
                axes.step(
                    curve.thresholds, values, where="post", color=colour, linestyle="-", linewidth=width, label=label
                )
            axes.axvline(chosen[k], color=GREEN, linestyle="--")
            called = np.count_nonzero(curve.thresholds >= chosen[k])
            f1 = float(curve.f1[called - 1]) if called else 0.0
            beside = (6, "left") if chosen[k] < 0.6 else (-6, "right")
            axes.annotate(
                f"{chosen[k]:.2f}: F1 {f1:.2f}",
                (chosen[k], 0.03),
                (beside[0], 0),
                textcoords="offset points",
                ha=beside[1],
                color=GREEN,
                path_effects=HALO,
            )
        drawn = max(sheet.axes, key=lambda axes: len(axes.lines))
        sheet.legend(*drawn.get_legend_handles_labels(), loc="outside upper right", ncols=3)


def logged(history: Path) -> dict[str, NDArray[np.float64]]:
    """Return the columns of a `history.csv` that hold numbers, float64 (rows,); nan where a row has none.

    `NothingToDraw` names a file without a metric.
    """
    with history.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in (rows[0] if rows else ()) if name != "phase"]
    columns = {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}
    columns = {name: column for name, column in columns.items() if not np.isnan(column).all()}
    if not columns.keys() - set(_COORDINATES):
        raise NothingToDraw(f"{history}: no metric was logged, expected at least a loss; train at least one epoch")
    return columns


def _line(axes: Axes, epochs: NDArray[np.float64], values: NDArray[np.float64], **style: Any) -> None:
    logged_in = ~np.isnan(values)
    axes.plot(epochs[logged_in], values[logged_in], marker="o", markersize=4, **style)
