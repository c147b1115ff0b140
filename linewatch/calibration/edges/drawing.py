"""Draw the thresholds of the edge finder: levels of strip and background, and the edges that they find."""

from pathlib import Path

import numpy as np

from linewatch.calibration.edges.making import MadeEdges
from linewatch.metrics.plots.drawing import BLUE, GRAY, GREEN, VERMILION, drawing


def draw_edges(made: MadeEdges, path: Path) -> None:
    """Draw made thresholds as a PNG. Raises ConfigError where it cannot be written."""
    part, width = made.part, made.part.width_px
    low, middle, high = np.percentile(made.means, [1, 50, 99], axis=0)
    with drawing(path, 1100, 900) as figure:
        picture, profile, levels = figure.subplots(3, 1, height_ratios=(1, 1.6, 1.4))
        picture.imshow(made.picture, cmap="gray", vmin=0, vmax=255, aspect="auto")
        for edge in np.nanmedian(made.found, axis=0)[np.isfinite(made.found).any(axis=0)]:
            picture.axvline(edge, color=VERMILION, linewidth=1.5)
        picture.set(ylabel="line", xlim=(0, width))
        picture.set_title(f"A picture, and the edges (they scatter by {part.edge_scatter_px:.2f} px between pictures)")
        picture.grid(visible=False)
        profile.fill_between(np.arange(width), low, high, color=BLUE, alpha=0.3, label="98 % of the pictures")
        profile.plot(np.arange(width), middle, color=BLUE, label="median")
        profile.axhline(part.edge_level, color=VERMILION, linewidth=1.5, label=f"edge_level {part.edge_level}")
        profile.set(ylabel="mean level of a column", xlabel="column of the camera, px", xlim=(0, width), ylim=(0, None))
        profile.legend(ncols=3, loc="lower center")
        bins = np.arange(0, max(float(made.strip.max()), part.edge_level) + 4, 1.0)
        for values, colour, name in ((made.background, GRAY, "background"), (made.strip, GREEN, "strip")):
            levels.hist(values, bins=bins, weights=np.full(values.size, 1 / values.size), color=colour, label=name)
        levels.axvline(part.edge_level, color=VERMILION, linewidth=1.5)
        levels.set(xlabel="mean level of a column", ylabel="share of its columns", yscale="log")
        levels.legend()
        levels.set_title(
            f"Background {part.background_level.told()}, strip {part.strip_level.told()}; "
            f"{part.wrong_columns:.2%} of the columns on the wrong side"
        )
