"""Comparison plots: confusion matrix, box plots, differences between networks, speed against accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike

from linewatch.metrics.plots.drawing import (
    BLACK,
    BLUE,
    GRAY,
    HALO,
    SKY,
    VERMILION,
    NothingToDraw,
    drawing,
    panels,
)


def confusion(counts: ArrayLike, classes: Sequence[str], out: Path) -> None:
    """Draw a confusion matrix (rows true, columns called), shaded by the share of the row so that rare classes show."""
    table = np.asarray(counts)
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    side = int(np.clip(330 + 75 * len(classes), 800, 1200))
    with drawing(out, side, side - 60) as sheet:
        axes = sheet.add_subplot(xlabel="called", ylabel="true")
        axes.grid(visible=False)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(classes)), classes, rotation=35, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(classes)), classes)
        for (row, column), count in np.ndenumerate(table):
            share = shares[row, column]
            if count:
                axes.text(
                    column,
                    row,
                    f"{count}\n{share:.1%}" if len(classes) <= 10 else f"{count}",
                    ha="center",
                    va="center",
                    color="white" if share > 0.55 else BLACK if row == column else VERMILION,
                    fontweight="normal" if row == column else "bold",
                )
        right = int(np.trace(table))
        axes.set_title(f"{right} of {table.sum()} right; in each cell the count and its share of the true class")


def box_plots(metrics: Mapping[str, Mapping[str, ArrayLike]], out: Path) -> None:
    """Draw the values of single images: a panel per metric (Dice, IoU), a box per network (Damacharla et al., fig. 4).

    The box is 25 to 75 %, the whiskers 2.5 to 97.5 %, the line the median, the dot the mean. nan is left out.
    """
    with drawing(out, 1000, 110 + max(230, 75 * max(len(of) for of in metrics.values()))) as sheet:
        for axes, (metric, of) in zip(panels(sheet, len(metrics), len(metrics)), metrics.items(), strict=True):
            values = [np.asarray(one, np.float64) for one in of.values()]
            values = [one[~np.isnan(one)] for one in values]
            axes.boxplot(
                values,
                orientation="horizontal",
                whis=(2.5, 97.5),
                widths=0.55,
                patch_artist=True,
                showmeans=True,
                boxprops={"facecolor": SKY, "edgecolor": BLUE, "alpha": 0.6},
                medianprops={"color": VERMILION, "linewidth": 2, "linestyle": "-"},
                meanprops={"marker": "o", "markerfacecolor": BLACK, "markeredgecolor": BLACK, "markersize": 5},
                flierprops={"marker": ".", "markersize": 3, "markeredgecolor": GRAY},
                whiskerprops={"linestyle": "-"},
                capprops={"linestyle": "-"},
            )
            axes.set(title=metric, xlim=(-0.02, 1.02))
            axes.invert_yaxis()
            axes.set_yticks(range(1, len(of) + 1), list(of) if axes is sheet.axes[0] else [""] * len(of))
            for at, one in enumerate(values, start=1):
                if len(one):
                    mean = f"mean {one.mean():.3f}"
                    axes.text(1.03, at, mean, ha="left", va="center", fontsize=10)
            axes.grid(visible=False, axis="y")


def paired_histogram(differences: Mapping[str, ArrayLike], out: Path, metric: str = "Dice") -> None:
    """Draw differences of single images with the zero line and the share improved (Damacharla et al., fig. 9).

    There is a panel per comparison (`{"ResNet-18: pretrained minus random": (n,)}`); all have the same bins.
    """
    values = {name: np.asarray(of, np.float64) for name, of in differences.items()}
    reach = max([0.05, *(float(np.abs(of).max()) for of in values.values() if len(of))])
    bins = np.linspace(-reach, reach, 42).tolist()  # an odd number of bins: none has its edge at zero
    with drawing(out, max(800, 540 * len(values)), 480) as sheet:
        for axes, (name, of) in zip(panels(sheet, len(values), len(values)), values.items(), strict=True):
            if not len(of):
                raise NothingToDraw(f"{name}: no image with a defect to compare on")
            axes.hist(of, bins, color=SKY, edgecolor="white")
            axes.axvline(0, color=VERMILION, linestyle="-", label="no difference")
            axes.axvline(of.mean(), color=BLACK, linestyle="--", label=f"mean {of.mean():+.3f}")
            axes.set(xlabel=f"difference of {metric}", ylabel="images")
            axes.set_title(f"{name}\n{(of > 0).mean():.0%} of {len(of)} images improved")
            axes.legend(loc="upper left")


@dataclass(frozen=True)
class TradeoffPoint:
    """A network: its time, its metric with the ends of its interval if known, and whether it is shipped."""

    name: str
    ms: float
    metric: float
    interval: tuple[float, float] | None = None
    shipped: bool = False


def tradeoff(points: Sequence[TradeoffPoint], out: Path, ms_of: str = "frame", metric: str = "accuracy") -> None:
    """Draw each network's metric against its time (log scale), the shipped one marked; names do not overlap.

    The line joins the networks that no other one beats in both.
    """
    if not points:
        raise NothingToDraw("no network was measured")
    with drawing(out, 1100, 700) as sheet:
        axes = sheet.add_subplot(xlabel=f"ms per {ms_of}", ylabel=metric, xscale="log")
        best = _unbeaten(points)
        axes.step(
            [one.ms for one in best], [one.metric for one in best], where="post", color=SKY, linestyle="-", zorder=1
        )
        for one in points:
            colour = VERMILION if one.shipped else BLUE
            if one.interval:
                axes.plot([one.ms] * 2, one.interval, color=colour, linestyle="-", linewidth=1.2, alpha=0.55)
            axes.plot(
                one.ms,
                one.metric,
                "*" if one.shipped else "o",
                color=colour,
                markersize=17 if one.shipped else 8,
                markeredgecolor="white",
                zorder=4 if one.shipped else 3,
            )
        axes.set_xlim(min(one.ms for one in points) / 1.5, max(one.ms for one in points) * 1.7)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:g}"))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda ms, _: f"{ms:g}" if f"{ms:e}"[0] in "25" else ""))
        if any(one.shipped for one in points):
            axes.plot([], [], "*", color=VERMILION, markersize=14, label="shipped")
        axes.plot([], [], color=SKY, linestyle="-", label="none is both faster and better")
        axes.legend(loc="lower right")
        _name(axes, points, best)


def _unbeaten(points: Sequence[TradeoffPoint]) -> list[TradeoffPoint]:
    found: list[TradeoffPoint] = []
    for one in sorted(points, key=lambda one: (one.ms, -one.metric)):
        if not found or one.metric > found[-1].metric:
            found.append(one)
    return found


def _name(axes: Axes, points: Sequence[TradeoffPoint], joined: Sequence[TradeoffPoint]) -> None:
    """Write each name beside its point, where it covers least of the names, points, lines and legend so far."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    assert isinstance(figure.canvas, FigureCanvasAgg)
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    at = {one.name: axes.transData.transform((one.ms, one.metric)) for one in points}
    taken = [Bbox.from_bounds(x - 7, y - 7, 14, 14) for x, y in at.values()]
    legend = axes.get_legend()
    if legend:
        taken.append(legend.get_window_extent(renderer))
    for one in points:
        if one.interval:
            x, low, high = at[one.name][0], *axes.transData.transform([(one.ms, end) for end in one.interval])[:, 1]
            taken.append(Bbox.from_extents(x - 2, low, x + 2, high))
    for one, after in pairwise(joined):
        (x0, y0), (x1, y1) = at[one.name], at[after.name]
        taken += [Bbox.from_extents(x0, y0 - 2, x1, y0 + 2), Bbox.from_extents(x1 - 2, y0, x1 + 2, y1)]
    inside = axes.get_window_extent(renderer)
    for one in sorted(points, key=lambda one: not one.shipped):
        chosen: tuple[float, Annotation, Bbox] | None = None
        for radius in (11, 20, 32, 46):
            for angle in np.deg2rad([0, 180, 90, 270, 30, 330, 150, 210, 60, 300]):
                across, up = radius * np.cos(angle), radius * np.sin(angle)
                note = axes.annotate(
                    one.name,
                    (one.ms, one.metric),
                    (across, up),
                    textcoords="offset points",
                    ha="center" if abs(across) < 3 else "left" if across > 0 else "right",
                    va="center" if abs(up) < 3 else "bottom" if up > 0 else "top",
                    path_effects=HALO,
                    fontweight="bold" if one.shipped else "normal",
                    arrowprops={"arrowstyle": "-", "color": "0.7", "lw": 0.8} if radius > 20 else None,
                )
                note.set_in_layout(False)
                note.update_positions(renderer)
                text = Text.get_window_extent(note, renderer)
                covered = sum(_shared(text, other) for other in taken) + 10 * (
                    text.width * text.height - _shared(text, inside)
                )
                cost = covered + radius
                if chosen is None or cost < chosen[0]:
                    if chosen:
                        chosen[1].remove()
                    chosen = (cost, note, text)
                else:
                    note.remove()
        assert chosen
        taken.append(chosen[2])


def _shared(one: Bbox, other: Bbox) -> float:
    both = Bbox.intersection(one, other)
    return both.width * both.height if both else 0.0
