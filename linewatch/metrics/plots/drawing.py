"""The style of all plots, and the context that opens a plot and writes it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from linewatch.contracts.errors import LinewatchError
from linewatch.files import write_output

BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#CC79A7",
    "#56B4E9",
    "#000000",
)
COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
"""The colours of Okabe & Ito, without the yellow, which is illegible on white."""
PALE = "0.72"
GRAY = "0.45"
HALO = [withStroke(linewidth=3, foreground="white")]
"""Keeps text legible over lines."""

_STYLE: Any = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(linestyle=["-", "--", ":"]) * cycler(color=COLOURS),
    "grid.color": "0.9",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
_DPI = 100


class NothingToDraw(LinewatchError):
    """There is nothing to draw in the plot that was asked for."""


@contextmanager
def drawing(out: Path, width_px: int, height_px: int) -> Iterator[Figure]:
    """Open a figure in the common style; write it to `out` as PNG of that size if the block ends without an error."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width_px / _DPI, height_px / _DPI), dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        png = io.BytesIO()
        figure.savefig(png, format="png")
        write_output(out, png.getvalue())


def whole_epochs(axes: Axes) -> None:
    """Put no tick between two epochs."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def panels(figure: Figure, count: int, columns: int) -> list[Axes]:
    """Return `count` axes in rows of at most `columns`."""
    columns = min(columns, count)
    rows = -(-count // columns)
    return [figure.add_subplot(rows, columns, at + 1) for at in range(count)]
