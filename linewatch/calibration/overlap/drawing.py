"""Draw an overlap: how what both recorded agrees at each shift, and the strip that both see, side by side."""

from pathlib import Path

import cv2
import numpy as np

from linewatch.calibration.overlap.making import MadeOverlap
from linewatch.metrics.plots.drawing import GREEN, VERMILION, drawing

_SQUARE_PX = 32


def draw_overlap(made: MadeOverlap, path: Path) -> None:
    """Draw a made overlap as a PNG. Raises ConfigError where it cannot be written."""
    part, found = made.part, made.correlation
    row, column = found.peak
    with drawing(path, 1100, 900) as figure:
        grid = figure.add_gridspec(2, 3, height_ratios=(1, 1.2))
        everywhere, blocks = figure.add_subplot(grid[0, :2]), figure.add_subplot(grid[0, 2])
        rows, columns = found.strength.shape
        down, right = made.step_mm[1], made.step_mm[0]
        extent = (-column * right, (columns - column) * right, (rows - row) * down, -row * down)
        everywhere.imshow(found.strength, cmap="gray", vmin=0, aspect="auto", extent=extent)
        everywhere.plot(0.5 * right, 0.5 * down, "o", color=VERMILION, markersize=14, fillstyle="none")
        everywhere.set(xlabel="mm across, from the place that was found", ylabel="mm along")
        everywhere.set_title(f"How well both agree at each shift: {found.strength.max():.0f} times the scatter at best")
        everywhere.grid(visible=False)
        if len(made.blocks_mm):
            blocks.plot(made.blocks_mm[:, 1], made.blocks_mm[:, 0], "o", color=GREEN)
        blocks.axhline(0, color="0.45", linewidth=1)
        blocks.axvline(0, color="0.45", linewidth=1)
        blocks.set(xlabel="mm across", ylabel="mm along")
        blocks.set_title("each part of the length")
        ours, theirs = made.shared
        places = np.indices(ours.shape) // _SQUARE_PX
        mixed = np.where((places.sum(axis=0) % 2)[..., None], *(cv2.merge([one, one, one]) for one in (ours, theirs)))
        mixed[..., 2] = np.where(places.sum(axis=0) % 2, mixed[..., 2], mixed[..., 2] // 4 * 3)
        for number, (picture, title) in enumerate(
            (
                (ours, f"neighbour {part.neighbour}"),
                (theirs, "this camera, at the same place"),
                (mixed, "both, in squares"),
            )
        ):
            axes = figure.add_subplot(grid[1, number])
            axes.imshow(picture, cmap="gray", vmin=0, vmax=255, aspect="auto")
            axes.set(xlabel="px")
            axes.set_title(title)
            axes.grid(visible=False)
