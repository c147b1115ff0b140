"""Draw a flat field: the references, the gain, and a picture of the target as it is and as corrected."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from linewatch.calibration.flat_field.making import MadeFlatField
from linewatch.metrics.plots.drawing import BLACK, BLUE, GRAY, GREEN, VERMILION, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN_SPREAD = 0.25
"""Share of the mean level by which the gray levels of both pictures are stretched to black and white."""


def draw_flat_field(made: MadeFlatField, path: Path) -> None:
    """Draw a made flat field as a PNG. Raises ConfigError where it cannot be written."""
    part = made.part
    with drawing(path, 1100, 900) as figure:
        levels, gains, before, after = figure.subplots(4, 1, sharex=True, height_ratios=(2.4, 1.6, 1, 1))
        columns = np.arange(part.width_px)
        levels.plot(columns, made.bright.mean(axis=0), color=BLUE, label="bright reference")
        levels.plot(columns, made.after.mean(axis=0), color=GREEN, label="bright reference, corrected")
        levels.plot(columns, made.dark.mean(axis=0), color=BLACK, label="dark reference")
        levels.axhline(part.target_level, color=GRAY, linewidth=1, linestyle=":", label="target level")
        for name, places, at in (("dead", part.dead, 0.0), ("hot", part.hot, 1.0)):
            if places:
                xs = [column for _, column in places]
                levels.plot(xs, [at] * len(xs), "v", color=VERMILION if name == "dead" else BLACK, label=name)
        levels.set(ylabel="gray level", ylim=(0, max(260.0, part.target_level * 1.05)))
        levels.set_title(
            f"Flat field: unevenness {part.uneven_before.told(100)} % before, {part.uneven_after.told(100)} % after"
        )
        levels.legend(ncols=3, loc="lower center")
        gains.plot(columns, part.gain.levels.mean(axis=0, dtype=np.float64) / 2**part.shift, color=BLUE)
        gains.set(ylabel="gain")
        _show(before, made.shown, "a picture of the target as it is; black to white is the mean level ± 25 %")
        _show(after, made.shown_after, "the same picture, corrected")
        after.set(xlabel="column of the camera, px", xlim=(0, part.width_px))


def _show(axes: "Axes", picture: np.ndarray, title: str) -> None:
    mean = float(picture.mean())
    axes.imshow(picture, cmap="gray", vmin=mean * (1 - _SHOWN_SPREAD), vmax=mean * (1 + _SHOWN_SPREAD), aspect="auto")
    axes.set(ylabel="line")
    axes.set_title(title)
    axes.grid(visible=False)
