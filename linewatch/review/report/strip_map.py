"""Draws the strip from above: its length in rows, every defect at its place, and the stretches not inspected.

Where marks of all defects would cover one another, a density shows all of them and marks show the worst.
"""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from linewatch.contracts.verdict import CoverageSpan, Quality
from linewatch.geometry.ranges import true_ranges
from linewatch.review.coil_record import CoilRecord, IntervalMm
from linewatch.review.report.axes import round_step, ticks
from linewatch.review.report.marks import MarkedDefects, radius_px, rectangle, shape

PLOT_PX = 930.0
LEFT_PX = 52.0
RIGHT_PX = 20.0
TOP_PX = 12.0
AXIS_PX = 22.0
ROW_MM = 400_000.0
MAX_ROWS = 8
SINGLE_ROW_PX, ROW_PX = 170.0, 104.0
MARKS_AT_MOST = 3_000
MARKS_ABOVE_DENSITY = 600
CELL_PX = (5.0, 6.5)
SHADES = (0.1, 0.25, 0.42, 0.62, 0.85)
"""Opacity of each step of the density."""

NUMBERED = 12  # of the worst defects have their number on the map
_THINNEST_PX = 1.5


@dataclass(frozen=True, slots=True)
class Tick:
    """A position on an axis, in pixels, and its label."""

    at_px: float
    text: str


@dataclass(frozen=True, slots=True)
class MarkGroup:
    """Paths of the defects of one class and severity: their marks, and the true extents of those larger than a mark."""

    class_code: int
    severity: int
    marks: str
    extents: str


@dataclass(frozen=True, slots=True)
class ListedDefect:
    """The place on the map of a defect that the table lists; `number` counts from 1, the worst first."""

    number: int
    x_px: float
    y_px: float
    half_width_px: float
    half_height_px: float


@dataclass(frozen=True, slots=True)
class MapRow:
    """One row of the map. A path without content is empty."""

    along_ticks: tuple[Tick, ...]
    across_ticks: tuple[Tick, ...]
    end_px: float  # where the strip ends
    bottom_px: float
    missed: str
    degraded: str
    density: tuple[str, ...]  # one path per shade, the lightest first
    marks: tuple[MarkGroup, ...]
    listed: tuple[ListedDefect, ...]


@dataclass(frozen=True, slots=True)
class StripMap:
    """The whole map. shades_per_m2: bounds of the density's shades, one more than shades; empty without a density."""

    rows: tuple[MapRow, ...]
    width_px: float
    row_px: float
    shades_per_m2: tuple[float, ...]
    marked: int  # how many defects are drawn as marks


@dataclass(frozen=True, slots=True)
class _Scale:
    """Converts positions on the strip to pixels of one row."""

    begin_mm: float
    end_mm: float
    across_mm: IntervalMm
    px_per_mm: float
    height_px: float

    def x(self, along_mm: float) -> float:
        return LEFT_PX + (min(max(along_mm, self.begin_mm), self.end_mm) - self.begin_mm) * self.px_per_mm

    def y(self, across_mm: float) -> float:
        low, high = self.across_mm
        return TOP_PX + (min(max(across_mm, low), high) - low) / (high - low) * self.height_px


@dataclass(slots=True)
class _Drawing:
    marks: defaultdict[tuple[int, int], list[str]] = field(default_factory=lambda: defaultdict(list))
    extents: defaultdict[tuple[int, int], list[str]] = field(default_factory=lambda: defaultdict(list))
    listed: list[ListedDefect] = field(default_factory=list)


def strip_map(record: CoilRecord, defects: MarkedDefects, listed: int) -> StripMap:
    """Draw the map. listed: how many of the worst defects the table lists; the map links to these."""
    across_mm = across_shown(record, defects)
    rows = max(1, min(MAX_ROWS, int(np.ceil(record.length_mm / ROW_MM))))
    step_mm = round_step(max(record.length_mm, 1.0) / rows, 10)
    row_mm = max(record.length_mm, 1.0)
    if rows > 1:
        row_mm = float(np.ceil(record.length_mm / rows / step_mm) * step_mm)
    height_px = SINGLE_ROW_PX if rows == 1 else ROW_PX
    scales = [
        _Scale(
            row * row_mm, min((row + 1) * row_mm, max(record.length_mm, 1.0)), across_mm, PLOT_PX / row_mm, height_px
        )
        for row in range(rows)
        if row == 0 or row * row_mm < record.length_mm
    ]
    dense = len(defects) > MARKS_AT_MOST
    marked = defects.first(MARKS_ABOVE_DENSITY if dense else MARKS_AT_MOST)
    densities, bounds = _densities(defects, scales) if dense else ([()] * len(scales), ())
    drawings = _draw(marked, scales, row_mm, listed)
    return StripMap(
        rows=tuple(
            MapRow(
                along_ticks=_along_ticks(scale, step_mm),
                across_ticks=tuple(Tick(scale.y(mm), f"{mm:g}") for mm in _across_ticks(across_mm)),
                end_px=scale.x(scale.end_mm),
                bottom_px=TOP_PX + height_px,
                missed=_bands(record.spans, Quality.MISSED, scale),
                degraded=_bands(record.spans, Quality.DEGRADED, scale),
                density=density,
                marks=tuple(
                    MarkGroup(*key, "".join(marks), "".join(drawing.extents[key]))
                    for key, marks in sorted(drawing.marks.items())
                ),
                listed=tuple(drawing.listed),
            )
            for scale, density, drawing in zip(scales, densities, drawings, strict=True)
        ),
        width_px=LEFT_PX + PLOT_PX + RIGHT_PX,
        row_px=TOP_PX + height_px + AXIS_PX,
        shades_per_m2=bounds,
        marked=len(marked),
    )


def across_shown(record: CoilRecord, defects: MarkedDefects) -> IntervalMm:
    """Return the width that the map shows: the strip's edges, extended to all defects."""
    edges = [*(record.strip_mm or ())]
    if len(defects):
        edges += [float(defects.across_mm.min()), float(defects.across_mm.max())]
    return (min(edges), max(edges)) if edges and max(edges) > min(edges) else (0.0, 1.0)


def _draw(defects: MarkedDefects, scales: list[_Scale], row_mm: float, listed: int) -> list[_Drawing]:
    drawings = [_Drawing() for _ in scales]
    columns = (defects.class_code, defects.severity, defects.along_mm, defects.across_mm)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for number, (code, severity, along, across) in enumerate(rows, start=1):
        first, last = (min(max(0, int(mm // row_mm)), len(scales) - 1) for mm in along)
        for row in range(first, last + 1):
            scale, drawing = scales[row], drawings[row]
            left, right = scale.x(along[0]), scale.x(along[1])
            top, bottom = scale.y(across[0]), scale.y(across[1])
            x, y, radius = (left + right) / 2, (top + bottom) / 2, radius_px(severity)
            half_width, half_height = max((right - left) / 2, 0.6), max((bottom - top) / 2, 0.6)
            if half_width > radius or half_height > radius:
                extent = rectangle(x - half_width, y - half_height, x + half_width, y + half_height)
                drawing.extents[code, severity].append(extent)
            drawing.marks[code, severity].append(shape(code, x, y, radius))
            if number <= listed and row == first:
                drawing.listed.append(ListedDefect(number, x, y, max(half_width, radius), max(half_height, radius)))
    return drawings


def _densities(defects: MarkedDefects, scales: list[_Scale]) -> tuple[list[tuple[str, ...]], tuple[float, ...]]:
    """Return one path per shade for each row, and the shades' bounds in defects per m2, in logarithmic steps."""
    along, across = defects.along_mm.mean(1), defects.across_mm.mean(1)
    counts, edges = [], []
    for scale in scales:
        inside = (along >= scale.begin_mm) & (along < scale.end_mm)
        bins = (
            _edges(scale.x(scale.begin_mm), scale.x(scale.end_mm), CELL_PX[0]),
            _edges(TOP_PX, TOP_PX + scale.height_px, CELL_PX[1]),
        )
        low, high = scale.across_mm
        x = LEFT_PX + (along[inside] - scale.begin_mm) * scale.px_per_mm
        y = TOP_PX + (across[inside] - low) / (high - low) * scale.height_px
        counts.append(np.histogram2d(x, y, bins)[0])
        edges.append(bins)
    peak = max(float(count.max(initial=0)) for count in counts)
    bounds = np.geomspace(1, max(peak, 2.0) * (1 + 1e-9), len(SHADES) + 1)
    scale = scales[0]
    low, high = scale.across_mm
    cell_m2 = CELL_PX[0] / scale.px_per_mm * CELL_PX[1] / scale.height_px * (high - low) / 1e6
    shaded = [
        tuple(_cells(np.digitize(count, bounds) == shade, *bins) for shade in range(1, len(SHADES) + 1))
        for count, bins in zip(counts, edges, strict=True)
    ]
    return shaded, tuple(float(bound) for bound in bounds / cell_m2)


def _edges(low: float, high: float, step: float) -> np.ndarray:
    edges = np.arange(low, high, step)
    return np.append(edges, max(high, low + 1e-3))


def _cells(there: np.ndarray, x_edges: np.ndarray, y_edges: np.ndarray) -> str:
    """Return the path of cells (columns, rows), with neighbours along joined."""
    parts = []
    for row in range(there.shape[1]):
        for start, stop in zip(*true_ranges(there[:, row]), strict=True):
            parts.append(rectangle(x_edges[start], y_edges[row], x_edges[stop], y_edges[row + 1]))
    return "".join(parts)


def _bands(spans: tuple[CoverageSpan, ...], quality: Quality, scale: _Scale) -> str:
    """Return the path of the spans of a quality, each wide enough to be seen, with touching ones joined."""
    bands: list[tuple[float, float]] = []
    for span in spans:
        begin, end = span.along_mm
        if span.quality is not quality or end <= scale.begin_mm or begin >= scale.end_mm:
            continue
        left, right = scale.x(begin), scale.x(end)
        right = max(right, left + _THINNEST_PX)
        if bands and left <= bands[-1][1] + 0.5:
            bands[-1] = (bands[-1][0], max(right, bands[-1][1]))
        else:
            bands.append((left, right))
    return "".join(rectangle(left, TOP_PX, right, TOP_PX + scale.height_px) for left, right in bands)


def _along_ticks(scale: _Scale, step_mm: float) -> tuple[Tick, ...]:
    return tuple(Tick(scale.x(mm), f"{mm / 1000:g}") for mm in ticks(scale.begin_mm, scale.end_mm, step_mm))


def _across_ticks(across_mm: IntervalMm) -> list[float]:
    low, high = across_mm
    return ticks(low, high, round_step(high - low, 5))
