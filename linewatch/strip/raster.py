"""Where a camera's lines and columns lie on the strip's, and which part of the strip each camera answers for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from linewatch.contracts.across import AcrossMap
from linewatch.contracts.verdict import Defect, RunMask, StripBox, Verdict
from linewatch.geometry.ranges import ranges
from linewatch.geometry.runs import union
from linewatch.strip.settings import StripCamera, StripSettings

NO_RUNS = np.empty((0, 3), np.int32)
_SAME_PX = 2.0
"""Ends of a view may differ by so much before a note tells it."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One camera's view of the strip.

    owned_mm: the strip across that this camera answers for: its view, up to the middle of what it shares with a
    neighbour. owned_px: the same in columns of the joined record. seams: indices into `StripLayout.seams`. outer:
    whether it is the leftmost, and the rightmost, of its side.
    """

    index: int  # as in the settings
    camera: StripCamera
    owned_mm: tuple[float, float]
    owned_px: tuple[int, int]
    seams: tuple[int, ...]
    outer: tuple[bool, bool]

    @property
    def key(self) -> str:
        return self.camera.key

    @property
    def side(self) -> str:
        return self.camera.side

    @property
    def columns(self) -> AcrossMap:
        """Where its columns lie by the strip's settings: for records that do not tell it."""
        return AcrossMap(self.camera.across_offset_mm, self.camera.mm_per_px, self.camera.width_px)

    def unlike(self, columns: AcrossMap | None) -> str:
        """Say where its service has another view than the strip's settings; "": it is the same, or not told."""
        if columns is None:
            return ""
        told_mm, here_mm = (one.mm(np.array([0.0, one.width_px])) for one in (columns, self.columns))
        if np.abs(told_mm - here_mm).max() <= _SAME_PX * self.camera.mm_per_px:
            return ""
        return (
            f"{self.key} sees {told_mm[0]:g} to {told_mm[1]:g} mm by its service, {here_mm[0]:g} to {here_mm[1]:g} mm "
            "by the strip's settings"
        )

    def moved(self, defect: Defect, name: str) -> Defect:
        """Return a defect of this camera in the strip's positions, as one of the camera `name`."""
        across, along = self.camera.across_shift_mm, self.camera.along_offset_mm
        box = defect.box
        if across or along:
            box = StripBox(_moved(box.across_mm, across), _moved(box.along_mm, along))
        return replace(defect, box=box, camera=name, severity=None, excluded=False)

    def strip_mm(self, verdict: Verdict) -> tuple[float, float] | None:
        """Return the strip's edges across in the strip's positions; None where the camera saw no strip."""
        return None if verdict.strip_mm is None else _moved(verdict.strip_mm, self.camera.across_shift_mm)

    def sees_one_edge(self, strip_mm: tuple[float, float]) -> bool:
        """Return whether it stands at an edge of the strip, which goes on below the next camera.

        strip_mm: the strip that it saw across.
        """
        near_mm = 2 * self.camera.mm_per_px
        left_mm, right_mm = self.camera.view_mm
        goes_on_left, goes_on_right = strip_mm[0] <= left_mm + near_mm, strip_mm[1] >= right_mm - near_mm
        return (self.outer == (True, False) and goes_on_right) or (self.outer == (False, True) and goes_on_left)

    def along_mm(self, verdict: Verdict) -> tuple[float, float]:
        """Return the verdict's stretch in the strip's positions."""
        return _moved(verdict.along_mm, self.camera.along_offset_mm)


@dataclass(frozen=True, slots=True, eq=False)
class Seam:
    """Where two neighbours meet. views: left and right. overlap_mm: what both see. zone_px: columns in which defects of
    both may touch.
    """

    views: tuple[int, int]
    overlap_mm: tuple[float, float]
    zone_px: tuple[int, int]


class StripLayout:
    """All cameras over the strip, and the lines and columns of the joined record."""

    def __init__(self, settings: StripSettings) -> None:
        strip = settings.strip
        self.mm_per_line, self.mm_per_px = strip.mm_per_line, strip.mm_per_px
        self.left_mm = settings.view_mm[0]
        self.columns = AcrossMap(self.left_mm, self.mm_per_px, settings.width_px)
        self.reach_px = int(strip.seam_across_mm / self.mm_per_px + 1e-9) + 1
        self.reach_lines = int(strip.seam_along_mm / self.mm_per_line + 1e-9) + 1
        self.max_slip_mm = strip.max_slip_mm
        index = {camera.key: i for i, camera in enumerate(settings.camera)}
        seams: list[Seam] = []
        bounds = {camera.key: list(camera.view_mm) for camera in settings.camera}
        touched: dict[str, list[int]] = {camera.key: [] for camera in settings.camera}
        for side in settings.sides:
            for one, other in pairwise(settings.across(side)):
                left_mm, right_mm = sorted((other.view_mm[0], one.view_mm[1]))
                bounds[one.key][1] = bounds[other.key][0] = (left_mm + right_mm) / 2
                for key in (one.key, other.key):
                    touched[key].append(len(seams))
                zone_px = self.column(left_mm) - self.reach_px, self.column(right_mm) + self.reach_px
                seams.append(Seam((index[one.key], index[other.key]), (left_mm, right_mm), zone_px))
        self.seams = tuple(seams)
        self.views = tuple(
            View(
                index[camera.key],
                camera,
                (bounds[camera.key][0], bounds[camera.key][1]),
                (self.column(bounds[camera.key][0]), self.column(bounds[camera.key][1])),
                tuple(touched[camera.key]),
                (camera == settings.across(camera.side)[0], camera == settings.across(camera.side)[-1]),
            )
            for camera in settings.camera
        )

    def column(self, across_mm: float) -> int:
        """Return the column that begins nearest to a place across."""
        return round((across_mm - self.left_mm) / self.mm_per_px)

    def runs(self, view: View, verdict: Verdict, mask: RunMask) -> np.ndarray:
        """Return a camera's mask in lines and columns of the strip: int32 (n, 3) as in `geometry.runs`."""
        begin_mm, end_mm = view.along_mm(verdict)
        pitch_mm = (end_mm - begin_mm) / verdict.lines if verdict.lines else self.mm_per_line
        line, start, stop = mask.runs.astype(np.float64).T
        top_mm = begin_mm + (line + mask.first_line - verdict.first_line) * pitch_mm
        columns = verdict.columns or view.columns
        off_mm = view.camera.across_shift_mm - self.left_mm
        start, stop = (
            np.rint((columns.mm(column) + off_mm) / self.mm_per_px).astype(np.int64) for column in (start, stop)
        )
        first = np.rint(top_mm / self.mm_per_line).astype(np.int64)
        count = np.maximum(np.rint((top_mm + pitch_mm) / self.mm_per_line).astype(np.int64) - first, 1)
        rows = np.repeat(np.arange(len(first)), count)
        line = ranges(first, count)
        runs = np.array((line, start[rows], np.maximum(stop, start + 1)[rows])).T
        if runs.min(initial=0) < 0:
            runs = runs[(runs[:, 0] >= 0) & (runs[:, 1] >= 0)]
        return union((runs.astype(np.int32), NO_RUNS))


def within(runs: np.ndarray, columns: tuple[int, int]) -> np.ndarray:
    """Return the part of the runs that lies in the columns [first, stop); the runs themselves where all of them do."""
    if len(runs) and runs[:, 1].min() >= columns[0] and runs[:, 2].max() <= columns[1]:
        return runs
    cut = np.column_stack([runs[:, 0], np.maximum(runs[:, 1], columns[0]), np.minimum(runs[:, 2], columns[1])])
    return cut[cut[:, 1] < cut[:, 2]].astype(np.int32)


def width_mm(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return the width that two intervals share."""
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))


def hull_mm(intervals: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Return the smallest interval that contains these; None for none."""
    if not intervals:
        return None
    return min(one[0] for one in intervals), max(one[1] for one in intervals)


def _moved(interval: tuple[float, float], by_mm: float) -> tuple[float, float]:
    return (interval[0] + by_mm, interval[1] + by_mm) if by_mm else interval
