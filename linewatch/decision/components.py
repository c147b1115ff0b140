"""The defects of one frame: connected pieces of the stitched mask, and tiles that only the classifier speaks of."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from linewatch.contracts.prediction import Depth, Prediction
from linewatch.contracts.tile import Tile
from linewatch.contracts.verdict import Extent
from linewatch.decision.groups import groups
from linewatch.decision.rules import DecisionRules
from linewatch.decision.sensitivity import Place
from linewatch.geometry.runs import area_px, rectangle, to_runs, union
from linewatch.geometry.stitch import stitch
from linewatch.geometry.strip import StripScale

MAX_PIECES = 256
"""Of one frame. When there are more, the smallest of them count as one widespread defect: nothing is hidden."""


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One defect's part in one frame; lines and columns are the frame's.

    runs: int32 (n, 3) as in `geometry.runs`. born: (line, column) that names it. peak: 0..255.
    scores: float64 (classes,), class scores summed over `weight` pixels (one that two tiles show counts twice).
    """

    runs: np.ndarray
    extent: Extent
    born: tuple[int, int]
    peak: int
    scores: np.ndarray
    weight: int

    @property
    def top(self) -> int:
        return int(self.runs[0, 0])

    @property
    def bottom(self) -> int:
        return int(self.runs[-1, 0]) + 1

    @property
    def left(self) -> int:
        return int(self.runs[:, 1].min())

    @property
    def right(self) -> int:
        return int(self.runs[:, 2].max())


def find_pieces(prediction: Prediction, rules: DecisionRules) -> list[Piece]:
    """The frame's defect pieces by (line, column), at most MAX_PIECES.

    Pixels count inside the strip and the valid lines. Pieces of the mask nearer than the merge gap are one. One below
    `min_area_mm2` is dropped, unless the neighbour frame may hold the rest of it. A passed tile without a piece whose
    classifier claims a class is a piece of its own, the tile's box on the strip (`Extent.TILE`); such tiles and
    pieces of one class that are near each other are one. A frame that failed or was only screened has none; in one that
    was classified and not segmented the classifier speaks alone, of every class.
    """
    frame, edges = prediction.frame, prediction.edges
    if prediction.failed or prediction.depth is Depth.SCREENED or edges is None or not len(prediction.probability):
        return []
    view = _View(
        prediction=prediction,
        rules=rules,
        tiles=tuple(tile for tile, passed in zip(prediction.tiles, prediction.passed, strict=True) if passed),
        steel=Tile(edges.left_px, 0, edges.right_px - edges.left_px, frame.valid_lines),
        scores=prediction.class_scores.astype(np.float64),
        reach_px=rules.reach(frame.mm_per_px),
        reach_lines=rules.reach(frame.mm_per_line),
        scale=StripScale.of(frame, rules.across_offset_mm),
    )
    pieces = _bounded(_mask_pieces(view))
    outlined = [piece.runs for piece in pieces if view.large(piece)]
    silent = [i for i, tile in enumerate(view.tiles) if not _shows(tile, outlined)]
    claims = {i: piece for i in silent if (piece := _tile_piece(view, i)) is not None}
    if claims:
        # What is too small to stand alone and lies within a tile that now speaks for it is part of that.
        pieces = [
            piece
            for piece in pieces
            if view.large(piece) or not any(_shows(view.tiles[i], [piece.runs]) for i in claims)
        ]
        pieces = _bounded(_join_by_class(view, [*pieces, *claims.values()]))
    return sorted(pieces, key=lambda piece: piece.born)


def join(pieces: Sequence[Piece]) -> Piece:
    """One piece of several. The outline is the mask's only where all of it is."""
    if len(pieces) == 1:
        return pieces[0]
    masks_only = all(piece.extent is Extent.MASK for piece in pieces)
    return Piece(
        runs=union([piece.runs for piece in pieces]),
        extent=Extent.MASK if masks_only else Extent.TILE,
        born=min(piece.born for piece in pieces),
        peak=max(piece.peak for piece in pieces),
        scores=np.sum([piece.scores for piece in pieces], axis=0),
        weight=sum(piece.weight for piece in pieces),
    )


@dataclass(frozen=True, slots=True)
class _View:
    """A prediction as this module looks at it: passed tiles, their scores float64 (tiles, classes), the steel."""

    prediction: Prediction
    rules: DecisionRules
    tiles: tuple[Tile, ...]
    steel: Tile
    scores: np.ndarray
    reach_px: int
    reach_lines: int
    scale: StripScale

    def place(self, left: int, right: int) -> Place:
        return Place.of(left, right, self.scale, self.prediction.edges)

    def class_of(self, piece: Piece) -> str:
        place = self.place(piece.left, piece.right)
        return self.rules.choose_class(self.prediction.classes, piece.scores / piece.weight, place)[0]

    def px(self, area_mm2: float) -> float:
        return area_mm2 / self.scale.mm2_per_px

    def large(self, piece: Piece) -> bool:
        """Whether it can stand alone."""
        least_mm2 = self.rules.min_area_mm2
        if self.rules.sensitivity.rules:
            least_mm2 = self.rules.least_area_mm2(self.class_of(piece), self.place(piece.left, piece.right))
        return area_px(piece.runs) >= self.px(least_mm2)


def _mask_pieces(view: _View) -> list[Piece]:
    threshold, tiles, steel = view.rules.defect_threshold_u8, view.tiles, view.steel
    if int(view.prediction.probability.max(initial=0)) < threshold:
        return []
    lines, width = max(t.y + t.lines for t in tiles), max(t.x + t.width for t in tiles)
    probability = stitch(tiles, view.prediction.probability, lines, width)
    probability = probability[: steel.lines, steel.x : steel.x + steel.width]
    mask = (probability >= threshold).view(np.uint8)
    if not mask.any():
        return []
    x, y, width, lines = cv2.boundingRect(mask)  # clean strip around the defects costs nothing
    mask, probability = mask[y : y + lines, x : x + width], probability[y : y + lines, x : x + width]

    runs = to_runs(mask)
    labels = _labels(mask, view.reach_px, view.reach_lines)[runs[:, 0], runs[:, 1]]
    order = np.argsort(labels, kind="stable")
    runs, labels = runs[order], labels[order]
    begins = np.flatnonzero(np.diff(labels, prepend=0))
    ends = np.append(begins[1:], len(runs))

    flat = np.append(probability.ravel(), np.uint8(0))  # so that the last run's stop is a place
    bounds = runs[:, 0:1].astype(np.int64) * width + runs[:, 1:]
    peaks = np.maximum.reduceat(np.maximum.reduceat(flat, bounds.ravel())[::2], begins)
    runs += np.array([y, steel.x + x, steel.x + x], dtype=np.int32)
    areas = np.add.reduceat(runs[:, 2] - runs[:, 1], begins)
    shown = np.stack([np.add.reduceat(_shown_px(tile, runs), begins) for tile in tiles], axis=1)
    # A plain sum over tiles, in their order: a matrix product may add in another one.
    sums = (shown[:, :, None] * view.scores[None, :, :]).sum(axis=1)

    keep = areas >= view.px(view.rules.sensitivity.least_area_mm2(view.rules.min_area_mm2))
    keep |= (runs[begins, 0] < view.reach_lines) | (runs[ends - 1, 0] >= steel.lines - view.reach_lines)
    pieces = [
        Piece(
            runs=runs[begins[i] : ends[i]],
            extent=Extent.MASK,
            born=(int(runs[begins[i], 0]), int(runs[begins[i], 1])),
            peak=int(peaks[i]),
            scores=sums[i],
            weight=int(shown[i].sum()),
        )
        for i in np.flatnonzero(keep).tolist()
    ]
    return sorted(pieces, key=lambda piece: piece.born)  # the order of OpenCV's labels is no promise


def _labels(mask: np.ndarray, reach_px: int, reach_lines: int) -> np.ndarray:
    """Labels of the mask's pixels, from 1: those within reach of each other, directly or over others, have the same.

    Each pixel is stretched to a rectangle of (reach_px, reach_lines); two such touch exactly when their pixels are
    within reach.
    """
    kernel = np.ones((min(reach_lines, mask.shape[0]), min(reach_px, mask.shape[1])), dtype=np.uint8)
    return cv2.connectedComponents(cv2.dilate(mask, kernel), connectivity=8, ltype=cv2.CV_32S)[1]


def _shown_px(tile: Tile, runs: np.ndarray) -> np.ndarray:
    """How many pixels of each run the tile shows."""
    width = np.minimum(runs[:, 2], tile.x + tile.width) - np.maximum(runs[:, 1], tile.x)
    return np.where((runs[:, 0] >= tile.y) & (runs[:, 0] < tile.y + tile.lines), np.maximum(width, 0), 0)


def _shows(tile: Tile, parts: Sequence[np.ndarray]) -> bool:
    return bool(parts) and bool(_shown_px(tile, np.concatenate(parts)).any())


def _tile_piece(view: _View, i: int) -> Piece | None:
    classes = view.prediction.classes
    tile, steel, scores = view.tiles[i], view.steel, view.scores[i]
    if view.prediction.depth is Depth.SEGMENTED:
        scores = scores * view.rules.unoutlined(classes)
    left, right = max(tile.x, steel.x), min(tile.x + tile.width, steel.x + steel.width)
    top, bottom = tile.y, min(tile.y + tile.lines, steel.lines)
    if left >= right or top >= bottom or not view.rules.claimed(classes, scores, view.place(left, right)).any():
        return None
    seen = view.prediction.probability[i, : bottom - top, left - tile.x : right - tile.x]
    weight = (right - left) * (bottom - top)
    return Piece(
        runs=rectangle(left, top, right, bottom),
        extent=Extent.TILE,
        born=(top, tile.x),  # the tile's own corner: two tiles that the strip's edge cuts may share the visible one
        peak=int(seen.max()),
        scores=scores * weight,
        weight=weight,
    )


def _join_by_class(view: _View, pieces: list[Piece]) -> list[Piece]:
    """Pieces of one class that are near each other become one, where either of two is a tile's."""
    names = [view.class_of(piece) for piece in pieces]
    pairs = [
        (i, j)
        for i, rectangular in enumerate(pieces)
        if rectangular.extent is Extent.TILE
        for j, other in enumerate(pieces)
        if names[i] == names[j] and _near_rectangle(rectangular, other.runs, view.reach_px, view.reach_lines)
    ]
    return [join([pieces[i] for i in members]) for members in groups(len(pieces), pairs)]


def _near_rectangle(rectangular: Piece, runs: np.ndarray, reach_px: int, reach_lines: int) -> bool:
    line, start, stop = runs.T
    _, left, right = rectangular.runs[0].tolist()
    return bool(
        (
            (line > rectangular.top - 1 - reach_lines)
            & (line < rectangular.bottom + reach_lines)
            & (start < right + reach_px)
            & (stop > left - reach_px)
        ).any()
    )


def _bounded(pieces: list[Piece]) -> list[Piece]:
    if len(pieces) <= MAX_PIECES:
        return pieces
    by_size = sorted(pieces, key=lambda piece: (-area_px(piece.runs), piece.born))
    return [*by_size[: MAX_PIECES - 1], join(by_size[MAX_PIECES - 1 :])]
