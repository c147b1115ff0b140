"""Plots of operating points: recall against false instances per area, and recall against the pass rate of a screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from linewatch.metrics.plots.drawing import COLOURS, GRAY, HALO, PALE, drawing
from linewatch.metrics.windows import WindowScores

_NONE, _DECADES = 0.3, (1, 10, 100, 1000, 10_000)


@dataclass(frozen=True)
class OperatingCurve:
    """The operating points on one kind of strip, in the same order for all curves.

    points: (false instances per 1,000 m2, upper end of its 95 % interval, recall) of each operating point.
    """

    name: str
    points: Sequence[tuple[float, float, float]]


def operating_curves(out: Path, curves: Sequence[OperatingCurve], marked: dict[str, int], aim: float) -> None:
    """Draw the curves as PNG of 1,000 x 560 px.

    marked: the operating points to name, with the number of their point. aim: the rate to reach.
    """
    with drawing(out, 1000, 560) as figure:
        axes = figure.add_subplot(
            xscale="log",
            xlabel="false instances per 1,000 m² of clean strip, all classes (bar: to the 95 % interval's end)",
            ylabel="true pieces found, %",
            title="Operating points: how often a defect is called where none is, and how many are found",
        )
        axes.axvspan(_NONE * 0.75, _NONE * 1.35, color="0.95", zorder=0)
        axes.axvline(aim, color=GRAY, linewidth=0.9, linestyle="--")
        axes.annotate(" aim, of one class", (aim, 2), color=GRAY, fontsize=9)
        styles = ("o-", "s--", "^:", "D-.")
        for curve, colour, style in zip(curves, COLOURS, styles, strict=False):
            x = [max(rate, _NONE) for rate, _, _ in curve.points]
            y = [100 * recall for _, _, recall in curve.points]
            axes.plot(x, y, style, color=colour, label=curve.name, markersize=5)
            for number in marked.values():
                rate, high, recall = curve.points[number]
                axes.plot([max(rate, _NONE), high], [100 * recall] * 2, color=colour, linewidth=1, alpha=0.6)
        for name, number in marked.items():
            for curve, colour in zip(curves, COLOURS, strict=False):
                rate, _, recall = curve.points[number]
                axes.plot(max(rate, _NONE), 100 * recall, "o", markersize=12, markerfacecolor="none", color=colour)
            rate, _, recall = curves[0].points[number]
            axes.annotate(
                name,
                (max(rate, _NONE), 100 * recall),
                (8, -16),
                textcoords="offset points",
                weight="bold",
                path_effects=HALO,
            )
        axes.set_xlim(_NONE * 0.75, 20_000)
        axes.set_ylim(0, 100)
        axes.xaxis.set_major_locator(FixedLocator([_NONE, *_DECADES]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: "none" if x == _NONE else f"{x:,.0f}"))
        axes.legend(loc="upper left")


def pass_rate_curves(curves: Mapping[str, WindowScores], out: Path, threshold: float | None = None) -> None:
    """Draw recall against pass rate of each named screen; a dot marks `threshold` on each curve."""
    rates = np.linspace(0, 1, 401)
    with drawing(out, 900, 620) as figure:
        axes = figure.add_subplot(
            xlabel="clean on-steel tiles passed", ylabel="recall on defective tiles", xlim=(0, 0.5), ylim=(0.4, 1.01)
        )
        for name, screen in curves.items():
            label = f"{name}: {screen.recall_at(0.1):.3f} at 10 %, AUC {screen.auc():.3f}"
            recalls = [screen.recall_at(rate) or 0.0 for rate in rates]
            line = axes.step(rates, recalls, where="post", label=label)[0]
            if threshold is not None:
                axes.plot(screen.pass_rate(threshold), screen.recall(threshold), "o", color=line.get_color())
        axes.axvline(0.1, color=PALE, linestyle="-", linewidth=0.8)
        axes.axhline(0.9, color=PALE, linestyle="-", linewidth=0.8)
        axes.legend(loc="lower right")
