"""Find the defect pieces of a frame that one engine inspected as a whole: connected cells of its maps.

A cell belongs to a defect when plane 1 of the maps reaches the defect threshold. A faint defect is looked for at lower
levels, where none was found at a higher one; how probably it is one is for the evidence to tell.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from linewatch.contracts.manifest import DEFECT_LEVELS
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.tile import Tile
from linewatch.decision.defects.pieces import Pieces, column_of, regions, shown_px
from linewatch.decision.rules import DecisionRules
from linewatch.geometry.ranges import ranges
from linewatch.geometry.runs import places, to_runs
from linewatch.geometry.stitch import stitch

LEAST_CELLS = 3
_NO_DEFECT = 255


def map_pieces(prediction: Prediction, rules: DecisionRules, tiles: Sequence[Tile], steel: Tile) -> Pieces:
    """Return the pieces of a frame with maps, in no particular order.

    tiles: those that passed. steel: the strip within the valid lines. Cells within the merge gap are one piece, which
    has at least LEAST_CELLS of them. Its outline are the pixels in and next to its cells that reach its level, or all
    pixels of its cells where none does. Its class scores are its cells' shares, weighted by plane 1.
    """
    cell_px, plane = rules.cell_px, strip_plane(prediction, rules)
    runs, counts, level_u8 = _cells(prediction, rules, plane)
    if not len(counts):
        return Pieces.none(len(tiles), len(prediction.classes))
    outlines, of = _outlines(prediction, tiles, steel, cell_px, runs, counts, level_u8, plane.shape)
    flat, sizes = places(runs, plane.shape[1]), _sums(runs[:, 2] - runs[:, 1], counts)
    begins, values = np.cumsum(sizes) - sizes, plane.ravel()[flat]
    assert prediction.maps is not None
    shares = bounded_scores(prediction.maps[2:].reshape(-1, plane.size)[:, flat])
    outline_counts = np.bincount(of, minlength=len(counts))
    first = np.cumsum(outline_counts) - outline_counts
    corners = np.array([(tile.x, tile.y, tile.x + tile.width, tile.y + tile.lines) for tile in tiles])
    ends = np.cumsum(counts)
    cells = [runs[end - count : end] for end, count in zip(ends.tolist(), counts.tolist(), strict=True)]
    return Pieces(
        runs=outlines,
        counts=outline_counts,
        tiled=np.zeros(len(counts), bool),
        born=outlines[first, :2].astype(np.int64),
        peak=np.rint(np.maximum.reduceat(values, begins) * 255).astype(np.uint8),
        shown=_sums(shown_px(corners, outlines), outline_counts) > 0,
        scores=np.add.reduceat(shares * values, begins, axis=1).T * cell_px**2,
        weight=np.add.reduceat(values, begins) * cell_px**2,
        cells=column_of(cells),
    )


def strip_plane(prediction: Prediction, rules: DecisionRules, number: int = 1) -> np.ndarray:
    """Return a plane of the maps, 0 in cells that show no strip: float64 (rows, columns), each in 0..1."""
    maps, edges, cell_px = prediction.maps, prediction.edges, rules.cell_px
    assert maps is not None
    assert edges is not None
    plane = np.zeros(maps.shape[1:])
    if edges.left_px < edges.right_px:
        rows = slice(0, -(-prediction.frame.valid_lines // cell_px))
        columns = slice(edges.left_px // cell_px, -(-edges.right_px // cell_px))
        plane[rows, columns] = bounded_scores(maps[number, rows, columns])
    return plane


def bounded_scores(values: np.ndarray) -> np.ndarray:
    """Return an engine's probabilities as float64 in 0..1, 0 for what is not a number."""
    return np.nan_to_num(values.astype(np.float64), nan=0.0).clip(0.0, 1.0)


def _cells(
    prediction: Prediction, rules: DecisionRules, plane: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the cells of the pieces: runs, piece after piece, the number of runs and the level (uint8) of each."""
    frame, cell_px = prediction.frame, rules.cell_px
    reach = rules.reach(frame.mm_per_px * cell_px), rules.reach(frame.mm_per_line * cell_px)
    taken = np.zeros(plane.shape, bool)
    parts, counts, levels = [np.zeros((0, 3), np.int32)], [np.zeros(0, np.int64)], [np.zeros(0, np.uint8)]
    highest = plane.max(initial=0.0)
    for share in DEFECT_LEVELS:
        level = rules.defect_threshold_u8 / 255 * share
        if highest < level:
            continue
        runs = to_runs(plane >= level)
        piece = regions(runs, *reach)
        in_order = np.argsort(piece, kind="stable")
        runs, piece = runs[in_order], piece[in_order]
        begins = np.flatnonzero(np.diff(piece, prepend=-1))
        count = np.diff(begins, append=len(runs))
        size = np.add.reduceat(runs[:, 2] - runs[:, 1], begins)
        known = np.logical_or.reduceat(taken.ravel()[places(runs, plane.shape[1])], np.cumsum(size) - size)
        new = np.flatnonzero((size >= LEAST_CELLS) & ~known)
        found = runs[ranges(begins[new], count[new])]
        taken.ravel()[places(found, plane.shape[1])] = True
        parts.append(found)
        counts.append(count[new])
        levels.append(np.full(len(new), max(1, round(level * 255)), np.uint8))
    return np.concatenate(parts), np.concatenate(counts), np.concatenate(levels)


def _outlines(
    prediction: Prediction,
    tiles: Sequence[Tile],
    steel: Tile,
    cell_px: int,
    runs: np.ndarray,
    counts: np.ndarray,
    level_u8: np.ndarray,
    shape: tuple[int, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the outlines at pixels: runs, piece after piece, and the piece of each; every piece has at least one."""
    of_run = np.repeat(np.arange(len(counts)), counts)
    grown = _grown(runs, of_run, shape)
    rows, columns = (np.flatnonzero(grown.any(axis=axis)) for axis in (1, 0))
    here = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]  # where there are pieces
    top, left = int(rows[0]) * cell_px, int(columns[0]) * cell_px
    below = np.append(level_u8 - 1, np.uint8(_NO_DEFECT))[grown[here] - 1]  # a pixel above it belongs to the piece
    below = below.repeat(cell_px, axis=0).repeat(cell_px, axis=1)
    below[steel.lines - top :], below[:, : max(steel.x - left, 0)] = _NO_DEFECT, _NO_DEFECT
    below[:, steel.x + steel.width - left :] = _NO_DEFECT
    lines = max(top + below.shape[0], *(tile.y + tile.lines for tile in tiles))
    width = max(left + below.shape[1], *(tile.x + tile.width for tile in tiles))
    probability = stitch(tiles, prediction.probability, lines, width)
    outlines = to_runs(probability[top : top + below.shape[0], left : left + below.shape[1]] > below)
    outlines += np.array([top, left, left], np.int32)
    of = grown[outlines[:, 0] // cell_px, outlines[:, 1] // cell_px] - 1
    silent = np.flatnonzero(np.bincount(of, minlength=len(counts)) == 0)
    if len(silent):
        cells = np.isin(of_run, silent)
        more, of_more = cell_pixels(runs[cells], of_run[cells], cell_px, steel)
        outlines, of = np.concatenate([outlines, more]), np.concatenate([of, of_more])
    in_order = np.lexsort((outlines[:, 1], outlines[:, 0], of))
    return outlines[in_order], of[in_order]


def _grown(runs: np.ndarray, of_run: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the piece of each cell and of the cells about it, counted from 1: int64 (rows, columns), 0 for none.

    A cell beside the cells of two pieces, grown or not, belongs to neither, so that pieces never touch.
    """
    own = np.zeros(shape, np.float32)
    own.ravel()[places(runs, shape[1])] = np.repeat(of_run + 1, runs[:, 2] - runs[:, 1])
    highest, agreed = _neighbours(own)
    grown = np.where(agreed & (own == 0), highest, own)
    _, agreed = _neighbours(grown)
    return np.where(agreed | (own > 0), grown, 0).astype(np.int64)


def _neighbours(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the highest label of each cell and the eight about it, and whether all labels there are the same one."""
    around, more = np.ones((3, 3), np.uint8), np.float32(labels.max(initial=0) + 2)
    highest = cv2.dilate(labels, around)
    lowest = more - cv2.dilate(np.where(labels > 0, more - labels, np.float32(0)), around)
    return highest, (highest == lowest) & (highest > 0)


def cell_pixels(runs: np.ndarray, of_run: np.ndarray, cell_px: int, steel: Tile) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels on the strip of runs of cells, as runs, and the number in `of_run` of each."""
    line, start, stop = np.repeat(runs * cell_px, cell_px, axis=0).T
    line = line + np.tile(np.arange(cell_px), len(runs))
    start, stop = np.maximum(start, steel.x), np.minimum(stop, steel.x + steel.width)
    on = (line < steel.lines) & (start < stop)
    return np.stack([line, start, stop], axis=1).astype(np.int32)[on], np.repeat(of_run, cell_px)[on]


def _sums(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the sums of consecutive groups of at least one row."""
    return np.add.reduceat(values, np.cumsum(counts) - counts, axis=0)
