"""The table of the pieces of defects in one frame, in columns, so that each step is one pass over them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Self

import numpy as np

from linewatch.decision.defects.groups import connected
from linewatch.geometry.ranges import ranges
from linewatch.geometry.runs import union

MAX_PIECES = 256
"""Most pieces of one frame. Beyond it, the smallest pieces are joined into one widespread defect; none is dropped."""


@dataclass(frozen=True, eq=False)
class Pieces:
    """Pieces of defects in one frame, in columns of one length n; lines and columns count within the frame.

    runs: int32 (m, 3) as in `geometry.runs`, piece after piece. counts: number of runs per piece, at least 1.
    tiled: bool, whether the outline is that of a tile (`Extent.TILE`). born: int64 (n, 2), the (line, column) that
    names the piece. peak: uint8, highest probability. shown: bool (n, tiles), which passed tiles show part of the
    piece. scores: float64 (n, classes), class scores summed over `weight` pixels. In a cascade a pixel in two tiles
    counts twice; with maps each pixel counts by its probability of being defect. cells: object, of a piece from maps
    its cells, int32 (k, 3) as in `geometry.runs`, lines and columns counted in cells; None for a piece of a cascade.
    """

    runs: np.ndarray
    counts: np.ndarray
    tiled: np.ndarray
    born: np.ndarray
    peak: np.ndarray
    shown: np.ndarray
    scores: np.ndarray
    weight: np.ndarray
    cells: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)

    @cached_property
    def begins(self) -> np.ndarray:
        """Return the index of the first run of each piece."""
        return np.cumsum(self.counts) - self.counts

    @cached_property
    def top(self) -> np.ndarray:
        return self.runs[self.begins, 0]

    @cached_property
    def bottom(self) -> np.ndarray:
        return self.runs[self.begins + self.counts - 1, 0] + 1

    @cached_property
    def left(self) -> np.ndarray:
        return np.minimum.reduceat(self.runs[:, 1], self.begins)

    @cached_property
    def right(self) -> np.ndarray:
        return np.maximum.reduceat(self.runs[:, 2], self.begins)

    @cached_property
    def area_px(self) -> np.ndarray:
        return np.add.reduceat(self.runs[:, 2] - self.runs[:, 1], self.begins, dtype=np.int64)

    @cached_property
    def masks(self) -> list[np.ndarray]:
        """Return the runs of each piece."""
        ends = self.begins + self.counts
        return [self.runs[begin:end] for begin, end in zip(self.begins.tolist(), ends.tolist(), strict=True)]

    def take(self, rows: np.ndarray) -> Self:
        """Return the pieces at these indices."""
        columns = (getattr(self, one.name)[rows] for one in fields(self)[1:])
        return type(self)(self.runs[ranges(self.begins[rows], self.counts[rows])], *columns)

    @classmethod
    def none(cls, tiles: int, classes: int) -> Self:
        """Return the empty table of a frame without defects."""
        nothing, no_flag = np.zeros(0, np.int64), np.zeros(0, bool)
        born, shown, scores = nothing.reshape(0, 2), np.zeros((0, tiles), bool), np.zeros((0, classes))
        peak, cells = nothing.astype(np.uint8), nothing.astype(object)
        return cls(np.zeros((0, 3), np.int32), nothing, no_flag, born, peak, shown, scores, nothing, cells)


def regions(runs: np.ndarray, reach_px: int, reach_lines: int) -> np.ndarray:
    """Return, for each run, the first run of its region: int64 (runs,).

    Runs belong to one region when they are within reach of each other, directly or through other runs.
    """
    line, start, stop = runs.astype(np.int64).T
    # Runs of one line within reach of each other form a span. What is within reach of the span is within reach of one
    # of its runs, and a line has few spans however noisy it is.
    opens = np.append(True, (line[1:] != line[:-1]) | (start[1:] - stop[:-1] >= reach_px))
    firsts = np.flatnonzero(opens)
    line, start, stop = line[firsts], start[firsts], stop[np.append(firsts[1:], len(runs)) - 1]
    stride = int(stop.max()) + 1  # of a line, as places are counted from here on
    ahead = (line + np.arange(1, reach_lines + 1)[:, None]) * stride
    low = np.searchsorted(line * stride + stop, ahead + np.maximum(start - reach_px, 0), side="right")
    counts = np.searchsorted(line * stride + start, ahead + np.minimum(stop + reach_px, stride)) - low
    one = np.repeat(np.tile(np.arange(len(firsts)), reach_lines), counts.ravel())
    root = connected(len(firsts), one, ranges(low.ravel(), counts.ravel()))
    return firsts[root][np.cumsum(opens) - 1]


def shown_px(tiles: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """Return how many pixels of each run lie in each tile: int64 (runs, tiles)."""
    left, top, right, bottom = tiles.T
    line, start, stop = runs.T[:, :, None]
    width = np.minimum(stop, right) - np.maximum(start, left)
    return np.where((line >= top) & (line < bottom), np.maximum(width, 0), 0)


def bounded(pieces: Pieces) -> Pieces:
    if len(pieces) <= MAX_PIECES:
        return pieces
    by_size = np.lexsort((pieces.born[:, 1], pieces.born[:, 0], -pieces.area_px)).tolist()
    return regrouped(pieces, [*([i] for i in by_size[: MAX_PIECES - 1]), by_size[MAX_PIECES - 1 :]])


def regrouped(pieces: Pieces, groups: Sequence[Sequence[int]]) -> Pieces:
    """Join each group into one piece. Its outline is a mask only if the outline of every member is."""
    if len(groups) == len(pieces):
        return pieces
    runs = [union([pieces.masks[i] for i in group]) for group in groups]
    return Pieces(
        runs=np.concatenate(runs),
        counts=np.array([len(one) for one in runs]),
        tiled=np.array([pieces.tiled[group].any() for group in groups]),
        born=np.array([min(pieces.born[group].tolist()) for group in groups]),
        peak=np.array([pieces.peak[group].max() for group in groups], np.uint8),
        shown=np.array([pieces.shown[group].any(axis=0) for group in groups]),
        scores=np.array([pieces.scores[group].sum(axis=0) for group in groups]),
        weight=np.array([pieces.weight[group].sum() for group in groups]),
        cells=column_of(_joined_cells(pieces.cells[group].tolist()) for group in groups),
    )


def both(one: Pieces, other: Pieces) -> Pieces:
    return Pieces(*(np.concatenate([getattr(one, column.name), getattr(other, column.name)]) for column in fields(one)))


def column_of(values: Iterable[np.ndarray | None]) -> np.ndarray:
    """Return a column that holds these arrays as objects, whatever their shapes."""
    return np.fromiter(values, object)


def _joined_cells(cells: list[np.ndarray | None]) -> np.ndarray | None:
    known = [one for one in cells if one is not None]
    return union(known) if known else None
