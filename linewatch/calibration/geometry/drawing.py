"""Draw a geometry: the target with the edges that were found, what the lens does, and what is left."""

from pathlib import Path

import numpy as np

from linewatch.calibration.geometry.making import MadeGeometry
from linewatch.metrics.plots.drawing import BLUE, GREEN, SKY, VERMILION, drawing

_DETAIL_EDGES = 9


def draw_geometry(made: MadeGeometry, path: Path) -> None:
    """Draw a made geometry as a PNG. Raises ConfigError where it cannot be written."""
    part, fit, columns = made.part, made.fit, made.edges.columns
    view = np.linspace(0.0, part.width_px, 801)
    with drawing(path, 1100, 1000) as figure:
        target, detail, lens, rest = figure.subplots(4, 1, height_ratios=(1, 1.5, 1.6, 1.8))
        target.imshow(made.picture, cmap="gray", vmin=0, vmax=255, aspect="auto")
        target.plot(columns, np.full(len(columns), 0.5), "|", color=VERMILION, markersize=9)
        target.set(ylabel="line", xlim=(0, part.width_px))
        target.set_title(f"The target and {len(columns)} edges of its bars")
        target.grid(visible=False)

        index = int(np.argmax(made.edges.half_pitches > 0))
        around = slice(max(0, index - _DETAIL_EDGES), index + _DETAIL_EDGES)
        low, high = columns[around][[0, -1]] + (-4.0, 4.0)
        shown = np.arange(max(0, int(low)), min(part.width_px, int(high) + 1))
        detail.step(shown + 0.5, made.profile[shown], where="mid", color=BLUE)
        for column in columns[around]:
            detail.axvline(column, color=VERMILION, linewidth=1)
        detail.set(ylabel="gray level", xlim=(low, high))
        detail.set_title("Mean level of the columns around the index")

        lens.plot(view, fit.columns.bend_px(view) * part.mm_per_px.value, color=BLUE)
        lens.set(ylabel="mm", xlim=(0, part.width_px))
        lens.set_title(
            f"What the lens adds to a position: up to {part.distortion_mm:.2f} mm, "
            f"{_share(made):.1%} of half the view ({len(part.distortion_px)} terms)"
        )

        sure_mm = 2.0 * fit.uncertainty_mm(view)
        rest.fill_between(view, -sure_mm, sure_mm, color=SKY, alpha=0.5, label="map, ± 2 standard uncertainties")
        rest.plot(columns[fit.used], fit.residual_mm[fit.used], ".", color=GREEN, label="edges")
        if not fit.used.all():
            apart = fit.residual_mm[~fit.used]
            rest.plot(columns[~fit.used], apart, "x", color=VERMILION, label=f"{len(apart)} edges left out")
        rest.set(ylabel="mm", xlabel="column of the camera, px", xlim=(0, part.width_px))
        rest.set_title(f"Edges against the map: {part.residual_mm * 1000:.1f} um root mean square")
        rest.legend(ncols=3, loc="lower right", bbox_to_anchor=(1.0, 0.98))


def _share(made: MadeGeometry) -> float:
    return made.part.distortion_mm / (made.part.width_px * made.part.mm_per_px.value / 2.0)
