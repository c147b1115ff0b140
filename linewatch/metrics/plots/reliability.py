"""Plots of a probability: precision against recall as its threshold falls, and how reliable it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from linewatch.metrics.calibration import ReliabilityBin
from linewatch.metrics.plots.drawing import BLUE, GRAY, GREEN, HALO, PALE, VERMILION, drawing


def probability_plots(
    out: Path,
    curve: Sequence[tuple[float, float]],
    points: Mapping[str, tuple[float, float]],
    bins: Sequence[ReliabilityBin],
) -> None:
    """Draw both as PNG of 1,100 x 500 px.

    curve: (recall, precision) from the highest threshold. points: the operating points by name, likewise.
    """
    with drawing(out, 1100, 500) as figure:
        axes, reliable = figure.subplots(1, 2)
        if curve:
            axes.plot(*zip(*curve, strict=True), color=BLUE)
        for colour, (name, (recall, precision)) in zip((GREEN, VERMILION), points.items(), strict=False):
            axes.plot(recall, precision, "o", color=colour, markersize=9)
            axes.annotate(name, (recall, precision), (9, 6), textcoords="offset points", path_effects=HALO)
        axes.set(
            xlim=(0, 1.02),
            ylim=(0, 1.04),
            xlabel="recall of true pieces",
            ylabel="precision of instances",
            title="As the least probability falls",
        )
        reliable.plot([0, 1], [0, 1], color=GRAY, linewidth=0.9, linestyle="--")
        most = max((one.count for one in bins), default=1)
        for one in bins:
            reliable.plot([one.probability] * 2, [one.probability, one.true_share], color=PALE, linestyle="-", zorder=1)
            reliable.plot(one.probability, one.true_share, "o", color=BLUE, markersize=4 + 6 * one.count / most)
        reliable.set(
            xlim=(0, 1.02),
            ylim=(-0.02, 1.04),
            xlabel="probability that is told, mean of a tenth of the instances",
            ylabel="share of them on a true piece",
            title="Reliability",
        )
