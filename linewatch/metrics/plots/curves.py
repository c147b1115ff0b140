"""Lines: how training went, and what a threshold would do."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray
from torchmetrics.functional.classification import binary_precision_recall_curve, binary_roc

from linewatch.metrics.classes import auc
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
_PARTS = {"train": BLUE, "val": VERMILION, "test": GREEN}
SMOOTH_ABOVE = 200
"""A line of more points than this is drawn pale, with its running mean over a fiftieth of them on top."""

Series = tuple[NDArray[np.float64], NDArray[np.float64]]


def learning_curves(metrics_csv: Path, out: Path, kept_epoch: int | None = None) -> None:
    """Every figure that Lightning's CSVLogger wrote, training and validation in one panel, losses first.

    Columns are named as Lightning names them: `train_loss`, `val_loss`, `val_top1`, `lr-Adam`, with or without `_step`
    and `_epoch`; without a part it is training's. Against epochs, or against steps if some are logged within epochs.
    `kept_epoch` marks the epoch whose weights were kept. `NothingToDraw` where nothing was logged.
    """
    columns = logged(metrics_csv)
    names = [name for name in columns if name not in _COORDINATES and not _also_by_epoch(name, columns)]
    axis = "step" if any(_within_epochs(columns, name) for name in names) else "epoch"
    of_figure: dict[str, dict[str, Series]] = {}
    for name in names:
        figure, part = _figure_and_part(name)
        of_figure.setdefault(figure, {})[part] = _series(columns, name, axis)
    order = sorted(of_figure, key=lambda figure: ("loss" not in figure, figure.startswith("lr"), figure))
    rows = -(-len(order) // 2)
    with drawing(out, 1100 if len(order) > 1 else 800, 120 + 330 * rows) as sheet:
        for axes, figure in zip(panels(sheet, len(order), 2), order, strict=True):
            axes.set(title=figure, xlabel=axis)
            for part, (at, values) in sorted(of_figure[figure].items()):
                _line(axes, at, values, _PARTS.get(part, BLACK), part)
            if figure.startswith("lr") and all((values > 0).all() for _, values in of_figure[figure].values()):
                axes.set_yscale("log")
            if kept_epoch is not None and axis == "epoch":
                axes.axvline(kept_epoch, color=GRAY, linestyle=":", label="kept")
            if axis == "epoch":
                whole_epochs(axes)
            if len(axes.get_legend_handles_labels()[0]) > 1:
                axes.legend()


def convergence(runs: Mapping[str, Path], figure: str, out: Path) -> None:
    """One figure (`val_dice`) of several runs, each given by its metrics.csv, against epochs (Damacharla et al., fig.
    8). `NothingToDraw` names a run that did not log it.
    """
    with drawing(out, 900, 560) as sheet:
        axes = sheet.add_subplot(xlabel="epoch", ylabel=figure)
        whole_epochs(axes)
        for name, path in runs.items():
            columns = logged(path)
            if figure not in columns:
                raise NothingToDraw(f"{path}: no column {figure}, expected one of {', '.join(columns)}")
            at, values = _series(columns, figure, "epoch")
            axes.plot(at, values, marker="o", markersize=4, label=name)
        axes.legend()


def pr_and_roc(scores: ArrayLike, truth: ArrayLike, classes: Sequence[str], out: Path) -> None:
    """Precision against recall and the ROC curve of each class against the rest, from scores and truth (n, C). Classes
    that always or never occur have neither.
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
            precision, recall, _ = _curve(score[:, k], true[:, k])
            # Without its last point, which calls nothing and has a precision by convention only.
            left.step(recall[:-1], precision[:-1], where="pre", label=name)
            false, right_rate, _ = binary_roc(*_ranked(score[:, k], true[:, k]))
            right.plot(false, right_rate, label=f"{name}  {area:.3f}")
            drawn = True
        if not drawn:
            raise NothingToDraw(f"no class of {', '.join(classes)} occurs in some samples and lacks in others")
        for axes in (left, right):
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
        right.legend(loc="lower right", title="area under the curve", fontsize=10)


def threshold_curves(
    scores: ArrayLike, truth: ArrayLike, classes: Sequence[str], thresholds: ArrayLike, out: Path
) -> None:
    """Precision, recall and F1 of each class against its threshold, the chosen one marked (Konovalenko et al., fig.
    2c), from scores in [0, 1] and truth (n, C) and one threshold for all or each of the classes.
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
            grid = np.linspace(0, 1, 501)
            calls = np.array([(score[:, k] >= at).sum() for at in grid])
            right = np.array([(score[true[:, k], k] >= at).sum() for at in grid])
            axes.plot(grid, np.where(calls > 0, right / np.maximum(calls, 1), np.nan), color=BLUE, label="precision")
            axes.plot(grid, right / support, color=VERMILION, linestyle="-", label="recall")
            f1 = 2 * right / (support + calls)
            axes.plot(grid, f1, color=BLACK, linestyle="-", linewidth=2.4, label="F1")
            axes.axvline(chosen[k], color=GREEN, linestyle="--")
            best = float(np.interp(chosen[k], grid, f1))
            beside = (6, "left") if chosen[k] < 0.6 else (-6, "right")
            axes.annotate(
                f"{chosen[k]:.2f}: F1 {best:.2f}",
                (chosen[k], 0.03),
                (beside[0], 0),
                textcoords="offset points",
                ha=beside[1],
                color=GREEN,
                path_effects=HALO,
            )
        drawn = max(sheet.axes, key=lambda axes: len(axes.lines))
        sheet.legend(*drawn.get_legend_handles_labels(), loc="outside upper right", ncols=3)


def _ranked(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ranks in [0, 1): torchmetrics would take scores outside it for logits."""
    rank = np.unique(scores, return_inverse=True)[1].ravel() / len(scores)
    return torch.from_numpy(rank), torch.from_numpy(truth.astype(np.int64))


def _curve(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return binary_precision_recall_curve(*_ranked(scores, truth))


def logged(metrics_csv: Path) -> dict[str, NDArray[np.float64]]:
    """Columns of a metrics.csv with a number in them, float64 (rows,), nan where a row has none but for `epoch`, which
    all have. `NothingToDraw` names a file with no figure.
    """
    with metrics_csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in (rows[0] if rows else ()) if name != "phase"]
    columns = {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}
    columns = {name: column for name, column in columns.items() if not np.isnan(column).all()}
    if not columns.keys() - set(_COORDINATES):
        raise NothingToDraw(f"{metrics_csv}: no figure was logged, expected at least a loss; train at least one epoch")
    _fill_epochs(columns)
    return columns


def _fill_epochs(columns: dict[str, NDArray[np.float64]]) -> None:
    """Learning rates are logged by step alone: their epoch is that of the next row that tells one."""
    step, epoch = columns["step"], columns.get("epoch", columns["step"])
    known = ~np.isnan(epoch)
    after = np.searchsorted(np.maximum.accumulate(step[known]), step[~known]).clip(0, int(known.sum()) - 1)
    epoch[~known] = epoch[known][after]
    columns["epoch"] = epoch


def _within_epochs(columns: Mapping[str, NDArray[np.float64]], name: str) -> bool:
    epochs = columns["epoch"][~np.isnan(columns[name])]
    return len(set(epochs.tolist())) < len(epochs)


def _series(columns: Mapping[str, NDArray[np.float64]], name: str, axis: str) -> Series:
    told = ~np.isnan(columns[name])
    return columns[axis][told], columns[name][told]


def _also_by_epoch(name: str, columns: Mapping[str, NDArray[np.float64]]) -> bool:
    """Of what Lightning logs both by step and by epoch, the epochs are drawn."""
    return name.endswith("_step") and f"{name.removesuffix('_step')}_epoch" in columns


def _figure_and_part(name: str) -> tuple[str, str]:
    """`val_loss` is ("loss", "val")."""
    plain = name.removesuffix("_step").removesuffix("_epoch")
    for part in _PARTS:
        if plain.startswith((f"{part}_", f"{part}/")):
            return plain[len(part) + 1 :], part
    return plain, "train"


def _line(axes: Axes, at: NDArray[np.float64], values: NDArray[np.float64], colour: str, label: str) -> None:
    if len(values) <= SMOOTH_ABOVE:
        axes.plot(at, values, color=colour, linestyle="-", marker="o" if len(values) <= 40 else "", ms=4, label=label)
        return
    width = len(values) // 50
    axes.plot(at, values, color=colour, linestyle="-", linewidth=0.6, alpha=0.3)
    mean = np.convolve(values, np.ones(width) / width, "valid")
    axes.plot(at[width - 1 :], mean, color=colour, linestyle="-", label=label)
