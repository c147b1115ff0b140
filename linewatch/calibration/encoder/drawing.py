"""Draw the scale of an encoder: the strip with both marks, and how far the zones of its width agree."""

from pathlib import Path

import numpy as np

from linewatch.calibration.encoder.making import MadeEncoderScale
from linewatch.calibration.encoder.marks import LEAST_SCORE, ZONES
from linewatch.metrics.plots.drawing import BLUE, GRAY, GREEN, VERMILION, drawing

_AROUND_LINES = 60


def draw_encoder_scale(made: MadeEncoderScale, path: Path) -> None:
    """Draw a made scale as a PNG. Raises ConfigError where it cannot be written."""
    part, (first, second) = made.part, made.marks
    with drawing(path, 1100, 800) as figure:
        grid = figure.add_gridspec(3, 2, height_ratios=(1.3, 1.5, 1.2))
        score, rest = figure.add_subplot(grid[0, :]), figure.add_subplot(grid[2, :])
        score.plot(made.score, color=BLUE, linewidth=1)
        score.axhline(LEAST_SCORE, color=GRAY, linestyle=":", linewidth=1)
        score.set(ylabel="times the roughness", xlim=(0, len(made.score)), yscale="symlog")
        score.set_title("How far lines stand out over the strip's width, and the two marks")
        for number, mark in enumerate((first, second)):
            middle = float(np.nanmean(mark.lines))
            score.axvline(middle, color=VERMILION, linewidth=1)
            axes = figure.add_subplot(grid[1, number])
            low, high = max(0, int(middle) - _AROUND_LINES), min(len(made.levels), int(middle) + _AROUND_LINES)
            axes.imshow(
                made.levels[low:high], cmap="gray", aspect="auto", extent=(0, ZONES, high, low), interpolation="nearest"
            )
            axes.plot(np.arange(ZONES) + 0.5, mark.lines, "o", color=VERMILION, markersize=4)
            axes.set(xlabel="zone of the strip's width", ylabel="line")
            axes.set_title(f"mark {number + 1}, at line {middle:.1f}")
            axes.grid(visible=False)
        off_mm = (made.between - part.counts.value) / part.counts_per_mm.value
        rest.plot(np.arange(len(off_mm)) + 0.5, off_mm, "o", color=GREEN)
        rest.axhline(0.0, color=GRAY, linewidth=1)
        rest.set(xlabel="zone of the strip's width", ylabel="mm off the mean")
        rest.set_title(
            f"{part.counts.told()} counts on {part.length_mm.told(1, 'mm')}: {part.counts_per_mm.told()} counts a mm"
        )
