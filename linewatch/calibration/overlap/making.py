"""Make the overlap of a camera with its neighbour from what both recorded of the same strip."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import cv2
import numpy as np

from linewatch.calibration.keeping import now
from linewatch.calibration.overlap.correlation import Correlation, correlate, surface
from linewatch.calibration.taking import Taken
from linewatch.config.calibration_part import Measured
from linewatch.config.line import LineSettings
from linewatch.config.line_parts import CameraOverlap
from linewatch.contracts.errors import SourceError

LEAST_PICTURES: Final = 4
LEAST_STRENGTH: Final = 10.0
"""How many times its scatter a correlation must be: over all shifts, chance reaches about half of it."""
LEAST_LEAD: Final = 1.3
"""How many times as strong it must be as the next best place, which a roll mark or a pattern could make."""
LEAST_OVERLAP_PX: Final = 12
BLOCKS: Final = 8
SURE_PX: Final = 0.02
"""What is left of the pixel's own place in a peak that was interpolated; the parts of the length share it."""
_NEAR_PX = 12
_REFINE_PX = 3
_LEAST_LINES = 128


@dataclass(frozen=True, slots=True, eq=False)
class OverlapView:
    """What one camera saw. serial: its own. geometry_made: of its calibration, where it has one."""

    taken: Taken
    line: LineSettings
    serial: str
    geometry_made: datetime | None = None


@dataclass(frozen=True, slots=True, eq=False)
class MadeOverlap:
    """An overlap, and what its picture shows.

    correlation: over all shifts. shared: of the neighbour and of the camera, uint8, the strip that both see, laid over
    each other. blocks_mm: (n, 2), across and along, as the parts of the length tell it each on its own.
    """

    part: CameraOverlap
    correlation: Correlation
    step_mm: tuple[float, float]
    shared: tuple[np.ndarray, np.ndarray]
    blocks_mm: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class _Band:
    """A part of the strip on a grid that both cameras share. pixels: float32 (rows, columns), from the corner on."""

    pixels: np.ndarray
    known: np.ndarray
    across_mm: float
    along_mm: float


def make_overlap(
    view: OverlapView, neighbour: OverlapView, by: str, search_mm: float, beyond: CameraOverlap | None = None
) -> MadeOverlap:
    """Make the overlap of `view` with its neighbour, whose positions count as right.

    search_mm: by how much their positions may differ, each way. beyond: the neighbour's own overlap with another
    camera, which is added. Raises SourceError where they recorded no strip of one coil, where their views lie too far
    apart, and where nothing that they recorded agrees: then there is no overlap, or no surface to see.
    """
    coil = _common_coil(view, neighbour)
    steps = max(view.line.mm_per_px, neighbour.line.mm_per_px), max(view.line.mm_per_line, neighbour.line.mm_per_line)
    views = [(one.line.across.mm(0.0), one.line.across.mm(float(one.line.width_px))) for one in (neighbour, view)]
    low = max(left for left, _ in views) - search_mm
    high = min(right for _, right in views) + search_mm
    if high - low < LEAST_OVERLAP_PX * steps[0]:
        (left, right), (ours, end) = views
        raise SourceError(
            f"camera {view.serial!r} sees {ours:.1f} to {end:.1f} mm across, its neighbour {neighbour.serial!r} "
            f"{left:.1f} to {right:.1f} mm: no overlap within --search-mm {search_mm:g}; correct [line] "
            "across_offset_mm of the two, or name cameras that are neighbours"
        )
    first, second = (_band(one, coil, low, high, steps) for one in (neighbour, view))
    origin_across = second.across_mm - first.across_mm
    origin_along = second.along_mm - first.along_mm
    reach = [int(np.ceil(search_mm / step)) for step in steps]
    centre = round(origin_along / steps[1]), round(origin_across / steps[0])
    shifts = [(middle - far, middle + far) for middle, far in zip(centre, reversed(reach), strict=True)]
    least = LEAST_OVERLAP_PX * _LEAST_LINES
    surfaces = surface(first.pixels, first.known), surface(second.pixels, second.known)
    found = correlate(surfaces[0], first.known, surfaces[1], second.known, shifts[0], shifts[1], least)
    row, column = found.peak
    _refuse_chance(found, f"no overlap of camera {view.serial!r} with {neighbour.serial!r} within {search_mm:g} mm")
    at = found.first_row + row, found.first_column + column
    places = _by_blocks(surfaces, first, second, at)
    down, right_px = np.mean(places, axis=0) if len(places) > 1 else found.refined()
    error = np.std(places, axis=0, ddof=1) / np.sqrt(len(places)) if len(places) > 1 else np.full(2, 0.5)
    to_mm = np.array([steps[1], steps[0]])
    along_mm, across_mm = np.array([down, right_px]) * to_mm - (origin_along, origin_across)
    errors = np.hypot(error, SURE_PX) * to_mm
    told = [(across_mm, errors[1]), (along_mm, errors[0])]
    if beyond is not None:
        more = (beyond.across_shift_mm, beyond.along_offset_mm)
        told = [
            (value + one.value, float(np.hypot(spread, one.uncertainty)))
            for (value, spread), one in zip(told, more, strict=True)
        ]
    across, along = (Measured(value=round(float(v), 4), uncertainty=round(float(u), 5)) for v, u in told)
    width_mm = min(views[0][1], views[1][1] + across_mm) - max(views[0][0], views[1][0] + across_mm)
    part = CameraOverlap(
        made=now(),
        by=by,
        source=f"{view.taken.origin}, neighbour {neighbour.taken.origin}"[:500],
        width_px=view.line.width_px,
        neighbour=neighbour.serial,
        across_shift_mm=across,
        along_offset_mm=along,
        overlap_mm=round(float(width_mm), 2),
        correlation=round(float(found.values[row, column]), 4),
        geometry_made=view.geometry_made,
    )
    return MadeOverlap(part, found, steps, _laid_over(first, second, at), (places - np.array([down, right_px])) * to_mm)


def _refuse_chance(found: Correlation, none: str) -> None:
    """Raise SourceError, which begins with `none`, where chance or a pattern could have made the best place."""
    row, column = found.peak
    strength, rival = float(found.strength[row, column]), found.strongest_beside(_NEAR_PX, _NEAR_PX)
    inside = 0 < row < found.values.shape[0] - 1 and 0 < column < found.values.shape[1] - 1
    if strength < LEAST_STRENGTH or strength < LEAST_LEAD * rival or not inside:
        raise SourceError(
            f"{none}: what they recorded agrees to {strength:.1f} times its scatter, "
            f"{strength / max(rival, 1e-9):.1f} times the next best place, expected {LEAST_STRENGTH:g} and "
            f"{LEAST_LEAD:g} or more; record the same strip with both, longer or rougher, or name cameras that are "
            "neighbours"
        )


def _common_coil(view: OverlapView, neighbour: OverlapView) -> str:
    coils = [dict.fromkeys(grab.coil for grab in one.taken.grabs) for one in (view, neighbour)]
    both = [coil for coil in coils[0] if coil in coils[1]]
    if not both:
        ours, theirs = (", ".join(map(repr, one)) for one in coils)
        raise SourceError(
            f"{view.taken.origin} shows coil {ours}, {neighbour.taken.origin} {theirs}: expected one coil in both, by "
            "whose head their positions along compare; record with both while a coil begins"
        )
    return both[0]


def _band(view: OverlapView, coil: str, low_mm: float, high_mm: float, steps: tuple[float, float]) -> _Band:
    """Return what a camera saw between two places across, on a grid of `steps`: across and along, in mm."""
    line, taken = view.line, view.taken
    own = [number for number, grab in enumerate(taken.grabs) if grab.coil == coil]
    begin_mm = min(taken.grabs[number].along_mm for number in own)
    end_mm = max(taken.grabs[number].along_mm + taken.grabs[number].lines * line.mm_per_line for number in own)
    left = max(low_mm, line.across.mm(0.0))
    right = min(high_mm, line.across.mm(float(line.width_px)))
    columns, rows = int((right - left) / steps[0]), int((end_mm - begin_mm) / steps[1])
    # Pixel centres: a column's value belongs to its middle.
    at = line.across.column(left + (np.arange(columns) + 0.5) * steps[0]) - 0.5
    pixels, known = np.zeros((rows, columns), np.float32), np.zeros((rows, columns), bool)
    for number in own:
        grab, picture = taken.grabs[number], taken.pictures[number]
        first = (grab.along_mm - begin_mm) / steps[1]
        per_row = steps[1] / grab.mm_per_line
        top, bottom = round(first), min(rows, round(first + len(picture) / per_row))
        if bottom <= top:
            continue
        lines = (np.arange(top, bottom) + 0.5 - first) * per_row - 0.5
        grid_x = np.broadcast_to(at.astype(np.float32), (bottom - top, columns))
        grid_y = np.broadcast_to(lines.astype(np.float32)[:, None], (bottom - top, columns))
        pixels[top:bottom] = cv2.remap(
            picture.astype(np.float32),
            np.ascontiguousarray(grid_x),
            np.ascontiguousarray(grid_y),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        known[top:bottom] = True
    return _Band(pixels, known, left, begin_mm)


def _by_blocks(surfaces: tuple[np.ndarray, np.ndarray], first: _Band, second: _Band, at: tuple[int, int]) -> np.ndarray:
    """Return the shift as each part of the length tells it on its own: (n, 2), rows and columns."""
    row, column = at
    top, bottom = max(0, row), min(len(surfaces[0]), len(surfaces[1]) + row)
    bounds = np.linspace(top, bottom, BLOCKS + 1).astype(int)
    found = []
    for begin, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        ours = slice(begin - row, stop - row)
        if stop - begin < _LEAST_LINES // 4:
            continue
        one = correlate(
            surfaces[0][begin:stop],
            first.known[begin:stop],
            surfaces[1][ours],
            second.known[ours],
            (-_REFINE_PX, _REFINE_PX),
            (column - _REFINE_PX, column + _REFINE_PX),
            LEAST_OVERLAP_PX * 8,
        )
        down, right = one.refined()
        peak = one.peak
        if all(0 < place < size - 1 for place, size in zip(peak, one.values.shape, strict=True)):
            found.append((down + row, right))
    places = np.array(found, np.float64).reshape(-1, 2)
    if len(places) < 3:
        return places
    apart = np.abs(places - np.median(places, axis=0))  # a part with a gap in it may find its own way
    return places[(apart <= 5.0 * 1.4826 * np.median(apart, axis=0) + SURE_PX).all(axis=1)]


def _laid_over(first: _Band, second: _Band, at: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the strip that both see, of the neighbour and of the camera: uint8, of one size, at most 512 rows."""
    row, column = at
    top, left = max(0, row), max(0, column)
    bottom = min(first.pixels.shape[0], second.pixels.shape[0] + row, top + 512)
    right = min(first.pixels.shape[1], second.pixels.shape[1] + column)
    ours = second.pixels[top - row : bottom - row, left - column : right - column]
    return _shown(first.pixels[top:bottom, left:right]), _shown(ours)


def _shown(pixels: np.ndarray) -> np.ndarray:
    low, high = np.percentile(pixels, [0.5, 99.5])
    return ((pixels - low) * (255.0 / max(1.0, high - low))).clip(0, 255).astype(np.uint8)
