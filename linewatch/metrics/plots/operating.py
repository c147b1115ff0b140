"""Plots of operating points: recall against the pass rate of a screen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from linewatch.metrics.plots.drawing import PALE, drawing
from linewatch.metrics.windows import WindowScores


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
