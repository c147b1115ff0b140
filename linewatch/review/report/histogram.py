"""Histograms of the defects along the length and across the width, by class."""

from dataclasses import dataclass

import numpy as np

from linewatch.review.report.axes import round_step, ticks
from linewatch.review.report.marks import rectangle
from linewatch.review.report.strip_map import LEFT_PX, PLOT_PX, TOP_PX, Tick

HEIGHT_PX = 120.0


@dataclass(frozen=True, slots=True)
class Histogram:
    """Stacked bars, one path per class code, in pixels of a drawing as wide as the map."""

    paths: tuple[str, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    bin_mm: float
    top_px: float = TOP_PX
    bottom_px: float = TOP_PX + HEIGHT_PX


def histogram(
    at_mm: np.ndarray, class_code: np.ndarray, classes: int, low_mm: float, high_mm: float, *, bins: int, unit_mm: float
) -> Histogram:
    """Count positions in [low_mm, high_mm] in at most `bins` bins of a round width; the axis counts in `unit_mm`."""
    span_mm = max(high_mm - low_mm, 1e-6)
    step_mm = round_step(span_mm, bins)
    first = np.floor(low_mm / step_mm + 1e-9)
    edges = step_mm * np.arange(first, np.ceil(high_mm / step_mm - 1e-9) + 1)
    edges = edges if len(edges) > 1 else np.array([low_mm, high_mm + step_mm])
    counts = np.zeros((classes, len(edges) - 1))
    where = np.clip(np.digitize(at_mm, edges) - 1, 0, len(edges) - 2)
    np.add.at(counts, (class_code, where), 1)
    tops = counts.cumsum(0)
    peak = max(float(tops[-1].max()) if classes else 0.0, 1.0)
    px_per_count = HEIGHT_PX / peak
    x = LEFT_PX + (np.clip(edges, low_mm, high_mm) - low_mm) / span_mm * PLOT_PX
    bottom = TOP_PX + HEIGHT_PX
    paths = []
    for code in range(classes):
        bars = [
            rectangle(
                x[at],
                bottom - tops[code, at] * px_per_count,
                max(x[at + 1] - 0.6, x[at] + 0.4),
                bottom - (tops[code, at] - counts[code, at]) * px_per_count,
            )
            for at in np.flatnonzero(counts[code]).tolist()
        ]
        paths.append("".join(bars))
    tick_mm = round_step(span_mm, 10)
    return Histogram(
        tuple(paths),
        tuple(
            Tick(LEFT_PX + (mm - low_mm) / span_mm * PLOT_PX, f"{mm / unit_mm:g}")
            for mm in ticks(low_mm, high_mm, tick_mm)
        ),
        tuple(
            Tick(bottom - count * px_per_count, f"{count:g}") for count in ticks(0, peak, max(1.0, round_step(peak, 4)))
        ),
        step_mm,
    )
