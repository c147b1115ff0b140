"""Find the defect pieces of one frame: connected regions of the stitched mask, and tiles that were only classified.

The pieces of a frame are stored in columns, so each step is one pass over the runs, the tiles or the pieces.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Self

import numpy as np

from linewatch.contracts.prediction import Depth, Prediction
from linewatch.contracts.tile import Tile
from linewatch.decision.defects.groups import connected, members
from linewatch.decision.defects.sensitivity import Places
from linewatch.decision.rules import DecisionRules
from linewatch.geometry.ranges import ranges
from linewatch.geometry.runs import rectangle, to_runs, union
from linewatch.geometry.stitch import stitch
from linewatch.geometry.strip import StripScale

MAX_PIECES = 256
"""Most pieces of one frame. Beyond it, the smallest pieces are joined into one widespread defect; none is dropped."""


@dataclass(frozen=True, eq=False)
class Pieces:
    """Pieces of defects in one frame, in columns of one length n; lines and columns count within the frame.

    runs: int32 (m, 3) as in `geometry.runs`, piece after piece. counts: number of runs per piece, at least 1.
    tiled: bool, whether the outline is that of a tile (`Extent.TILE`). born: int64 (n, 2), the (line, column) that
    names the piece. peak: uint8, highest probability. shown: bool (n, tiles), which passed tiles show part of the
    piece. scores: float64 (n, classes), class scores summed over `weight` pixels; a pixel in two tiles counts twice.
    """

    runs: np.ndarray
    counts: np.ndarray
    tiled: np.ndarray
    born: np.ndarray
    peak: np.ndarray
    shown: np.ndarray
    scores: np.ndarray
    weight: np.ndarray

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
        return cls(np.zeros((0, 3), np.int32), nothing, no_flag, born, nothing.astype(np.uint8), shown, scores, nothing)


def find_pieces(prediction: Prediction, rules: DecisionRules) -> Pieces:
    """Return at most MAX_PIECES defect pieces of the frame, sorted by (line, column).

    Only pixels on the strip and within the valid lines count. Regions of the mask closer than the merge gap are one
    piece. A piece below `min_area_mm2` is dropped unless the neighbouring frame may hold the rest of it. A passed tile
    without a piece, for which the classifier claims a class, is a piece of its own with the tile's box on the strip
    as outline (`Extent.TILE`); such tiles and pieces of the same class that are close to each other are joined. A frame
    that failed or was only screened has no pieces. In a frame that was classified but not segmented, the classifier
    alone decides, for every class.
    """
    frame, edges = prediction.frame, prediction.edges
    if prediction.failed or prediction.depth is Depth.SCREENED or edges is None or not len(prediction.probability):
        return Pieces.none(0, len(prediction.classes))
    tiles = [tile for tile, passed in zip(prediction.tiles, prediction.passed.tolist(), strict=True) if passed]
    view = _View(
        prediction=prediction,
        rules=rules,
        tiles=np.array([(tile.x, tile.y, tile.x + tile.width, tile.y + tile.lines) for tile in tiles]),
        steel=Tile(edges.left_px, 0, edges.right_px - edges.left_px, frame.valid_lines),
        scores=prediction.class_scores.astype(np.float64),
        reach_px=rules.reach(frame.mm_per_px),
        reach_lines=rules.reach(frame.mm_per_line),
        scale=StripScale.of(frame, rules.across_offset_mm),
    )
    pieces = _bounded(_mask_pieces(view, tiles))
    large = view.large(pieces)
    claims = _tile_pieces(view, ~pieces.shown[large].any(axis=0))
    if len(claims):
        # A piece too small to be reported on its own, inside a tile that is now a piece, becomes part of that tile.
        swallowed = ~large & (pieces.shown & claims.shown.any(axis=0)).any(axis=1)
        pieces = _bounded(_joined_by_class(view, _both(pieces.take(np.flatnonzero(~swallowed)), claims)))
    in_order = np.lexsort((pieces.born[:, 1], pieces.born[:, 0]))
    return pieces if (np.diff(in_order) == 1).all() else pieces.take(in_order)


@dataclass(frozen=True, slots=True)
class _View:
    """A prediction prepared for this module.

    tiles: int64 (tiles, 4), the passed tiles as (left, top, right, bottom). steel: the strip within the valid lines.
    scores: float64 (tiles, classes), of the passed tiles.
    """

    prediction: Prediction
    rules: DecisionRules
    tiles: np.ndarray
    steel: Tile
    scores: np.ndarray
    reach_px: int
    reach_lines: int
    scale: StripScale

    def places(self, left: np.ndarray, right: np.ndarray) -> Places:
        return Places.of(left, right, self.scale, self.prediction.edges)

    def codes(self, pieces: Pieces) -> np.ndarray:
        """Return the class index of each piece."""
        scores, places = pieces.scores / pieces.weight[:, None], self.places(pieces.left, pieces.right)
        return self.rules.choose_classes(self.prediction.classes, scores, places)[0]

    def px(self, area_mm2: np.ndarray | float) -> np.ndarray | float:
        return area_mm2 / self.scale.mm2_per_px

    def large(self, pieces: Pieces) -> np.ndarray:
        """Return which pieces are large enough to be reported on their own: bool (n,)."""
        if not len(pieces):
            return np.zeros(0, bool)
        if not self.rules.sensitivity.rules:
            return pieces.area_px >= self.px(self.rules.min_area_mm2)
        places = self.places(pieces.left, pieces.right)
        least_mm2 = self.rules.least_area_mm2(self.prediction.classes, self.codes(pieces), places)
        return pieces.area_px >= self.px(least_mm2)


def _mask_pieces(view: _View, tiles: Sequence[Tile]) -> Pieces:
    threshold, steel = view.rules.defect_threshold_u8, view.steel
    nothing = Pieces.none(len(tiles), len(view.prediction.classes))
    if int(view.prediction.probability.max(initial=0)) < threshold:
        return nothing
    width, lines = view.tiles[:, 2:].max(axis=0).tolist()
    probability = stitch(tiles, view.prediction.probability, lines, width)
    probability = probability[: steel.lines, steel.x : steel.x + steel.width]
    runs = to_runs(probability >= threshold)
    if not len(runs):
        return nothing
    piece = _labels(runs, view.reach_px, view.reach_lines)
    in_order = np.argsort(piece, kind="stable")  # by their first runs
    runs, piece = runs[in_order], piece[in_order]
    begins = np.flatnonzero(np.diff(piece, prepend=-1))
    counts = np.diff(begins, append=len(runs))

    flat = np.append(probability.ravel(), np.uint8(0))  # so that the last run's stop is a place
    bounds = runs[:, 0:1].astype(np.int64) * probability.shape[1] + runs[:, 1:]
    peak = np.maximum.reduceat(np.maximum.reduceat(flat, bounds.ravel())[::2], begins)
    runs += np.array([0, steel.x, steel.x], dtype=np.int32)
    shown = np.add.reduceat(_shown_px(view.tiles, runs), begins)
    pieces = Pieces(
        runs=runs,
        counts=counts,
        tiled=np.zeros(len(counts), bool),
        born=runs[begins, :2].astype(np.int64),
        peak=peak,
        shown=shown > 0,
        # A plain sum over tiles, in their order: a matrix product may add in another one.
        scores=(shown[:, :, None] * view.scores[None, :, :]).sum(axis=1),
        weight=shown.sum(axis=1),
    )
    keep = pieces.area_px >= view.px(view.rules.sensitivity.least_area_mm2(view.rules.min_area_mm2))
    keep |= (pieces.top < view.reach_lines) | (pieces.bottom > steel.lines - view.reach_lines)
    return pieces if keep.all() else pieces.take(np.flatnonzero(keep))


def _labels(runs: np.ndarray, reach_px: int, reach_lines: int) -> np.ndarray:
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


def _shown_px(tiles: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """Return how many pixels of each run lie in each tile: int64 (runs, tiles)."""
    left, top, right, bottom = tiles.T
    line, start, stop = runs.T[:, :, None]
    width = np.minimum(stop, right) - np.maximum(start, left)
    return np.where((line >= top) & (line < bottom), np.maximum(width, 0), 0)


def _tile_pieces(view: _View, silent: np.ndarray) -> Pieces:
    """Return a piece for each of these tiles in which the classifier claims a class: the tile's part on the strip."""
    steel, scores, count = view.steel, view.scores, len(view.tiles)
    if not silent.any():
        return Pieces.none(count, scores.shape[1])
    if view.prediction.depth is Depth.SEGMENTED:
        scores = scores * view.rules.unoutlined(view.prediction.classes)
    left, top = np.maximum(view.tiles[:, 0], steel.x), view.tiles[:, 1]
    right = np.minimum(view.tiles[:, 2], steel.x + steel.width)
    bottom = np.minimum(view.tiles[:, 3], steel.lines)
    claimed = (scores >= view.rules.thresholds(view.prediction.classes, view.places(left, right))).any(axis=1)
    rows = np.flatnonzero(silent & claimed & (left < right) & (top < bottom))
    if not len(rows):
        return Pieces.none(count, scores.shape[1])
    boxes = np.stack([left, top, right, bottom], axis=1)[rows]
    probability = view.prediction.probability[rows]
    seen = [
        part[: box[3] - box[1], box[0] - x : box[2] - x].max()
        for part, x, box in zip(probability, view.tiles[rows, 0], boxes, strict=True)
    ]
    weight = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return Pieces(
        runs=np.concatenate([rectangle(*box) for box in boxes.tolist()]),
        counts=boxes[:, 3] - boxes[:, 1],
        tiled=np.ones(len(rows), bool),
        # The tile's own corner: two tiles cut by the strip's edge may share the corner of their visible parts.
        born=view.tiles[rows][:, [1, 0]],
        peak=np.array(seen, np.uint8),
        shown=np.arange(count) == rows[:, None],
        scores=scores[rows] * weight[:, None],
        weight=weight,
    )


def _joined_by_class(view: _View, pieces: Pieces) -> Pieces:
    """Join pieces of one class that are close to each other where at least one of the two has a tile as outline."""
    of_run = np.repeat(np.arange(len(pieces)), pieces.counts)
    line, start, stop = pieces.runs.T
    pairs = [(np.arange(0), np.arange(0))]
    code = view.codes(pieces)
    for i in np.flatnonzero(pieces.tiled).tolist():
        near = (line > pieces.top[i] - 1 - view.reach_lines) & (line < pieces.bottom[i] + view.reach_lines)
        near &= (start < pieces.right[i] + view.reach_px) & (stop > pieces.left[i] - view.reach_px)
        others = np.unique(of_run[near])
        others = others[code[others] == code[i]]
        pairs.append((np.full(len(others), i), others))
    one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return _regrouped(pieces, members(connected(len(pieces), one, other)))


def _bounded(pieces: Pieces) -> Pieces:
    if len(pieces) <= MAX_PIECES:
        return pieces
    by_size = np.lexsort((pieces.born[:, 1], pieces.born[:, 0], -pieces.area_px)).tolist()
    return _regrouped(pieces, [*([i] for i in by_size[: MAX_PIECES - 1]), by_size[MAX_PIECES - 1 :]])


def _regrouped(pieces: Pieces, groups: Sequence[Sequence[int]]) -> Pieces:
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
    )


def _both(one: Pieces, other: Pieces) -> Pieces:
    return Pieces(*(np.concatenate([getattr(one, column.name), getattr(other, column.name)]) for column in fields(one)))
