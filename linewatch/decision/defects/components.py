"""Find the defect pieces of one frame: connected regions of the stitched mask, and tiles that were only classified.

The pieces of a frame are stored in columns, so each step is one pass over the runs, the tiles or the pieces.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from linewatch.contracts.prediction import Depth, Prediction
from linewatch.contracts.tile import Tile
from linewatch.decision.defects.groups import connected, members
from linewatch.decision.defects.map_pieces import map_pieces
from linewatch.decision.defects.pieces import Pieces, both, bounded, column_of, regions, regrouped, shown_px
from linewatch.decision.defects.sensitivity import Places
from linewatch.decision.rules import DecisionRules
from linewatch.geometry.runs import rectangle, to_runs
from linewatch.geometry.stitch import stitch
from linewatch.geometry.strip import StripScale


def find_pieces(prediction: Prediction, rules: DecisionRules) -> Pieces:
    """Return at most MAX_PIECES defect pieces of the frame, sorted by (line, column).

    Only pixels on the strip and within the valid lines count. Regions of the mask closer than the merge gap are one
    piece. A piece below `min_area_mm2` is dropped unless the neighbouring frame may hold the rest of it. A passed tile
    without a piece, for which the classifier claims a class, is a piece of its own with the tile's box on the strip
    as outline (`Extent.TILE`); such tiles and pieces of the same class that are close to each other are joined. A frame
    that failed or was only screened has no pieces. In a frame that was classified but not segmented, the classifier
    alone decides, for every class. Where an engine inspected the whole frame, all pieces are from its maps.
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
        scale=StripScale.of(frame),
    )
    if prediction.maps is not None:
        return _in_order(bounded(view.lasting(map_pieces(prediction, rules, tiles, view.steel))))
    pieces = bounded(_mask_pieces(view, tiles))
    large = view.large(pieces)
    claims = _tile_pieces(view, ~pieces.shown[large].any(axis=0))
    if len(claims):
        # A piece too small to be reported on its own, inside a tile that is now a piece, becomes part of that tile.
        swallowed = ~large & (pieces.shown & claims.shown.any(axis=0)).any(axis=1)
        pieces = bounded(_joined_by_class(view, both(pieces.take(np.flatnonzero(~swallowed)), claims)))
    return _in_order(pieces)


def _in_order(pieces: Pieces) -> Pieces:
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

    def px(self, area_mm2: np.ndarray | float, pieces: Pieces) -> np.ndarray:
        return area_mm2 / self.scale.mm2_per_px(pieces.left, pieces.right)

    def large(self, pieces: Pieces) -> np.ndarray:
        """Return which pieces are large enough to be reported on their own: bool (n,)."""
        if not len(pieces):
            return np.zeros(0, bool)
        if not self.rules.sensitivity.rules:
            return pieces.area_px >= self.px(self.rules.min_area_mm2, pieces)
        places = self.places(pieces.left, pieces.right)
        least_mm2 = self.rules.least_area_mm2(self.prediction.classes, self.codes(pieces), places)
        return pieces.area_px >= self.px(least_mm2, pieces)

    def lasting(self, pieces: Pieces) -> Pieces:
        """Return the pieces that are large enough somewhere on the strip, or may go on in a neighbouring frame."""
        if not len(pieces):
            return pieces
        keep = pieces.area_px >= self.px(self.rules.sensitivity.least_area_mm2(self.rules.min_area_mm2), pieces)
        keep |= (pieces.top < self.reach_lines) | (pieces.bottom > self.steel.lines - self.reach_lines)
        return pieces if keep.all() else pieces.take(np.flatnonzero(keep))


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
    piece = regions(runs, view.reach_px, view.reach_lines)
    in_order = np.argsort(piece, kind="stable")  # by their first runs
    runs, piece = runs[in_order], piece[in_order]
    begins = np.flatnonzero(np.diff(piece, prepend=-1))
    counts = np.diff(begins, append=len(runs))

    flat = np.append(probability.ravel(), np.uint8(0))  # so that the last run's stop is a place
    bounds = runs[:, 0:1].astype(np.int64) * probability.shape[1] + runs[:, 1:]
    peak = np.maximum.reduceat(np.maximum.reduceat(flat, bounds.ravel())[::2], begins)
    runs += np.array([0, steel.x, steel.x], dtype=np.int32)
    shown = np.add.reduceat(shown_px(view.tiles, runs), begins)
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
        cells=column_of([None] * len(counts)),
    )
    return view.lasting(pieces)


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
        cells=column_of([None] * len(rows)),
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
    return regrouped(pieces, members(connected(len(pieces), one, other)))
