"""The evidence of each piece of a frame: named numbers, from which the second stage tells how probable a defect it is.

A piece is described on a grid: from maps on their cells, from a cascade on the pixels of its outline. Sizes are in
cells of CELL_PX x CELL_PX pixels in either case, so that both chains speak of the same quantities.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from linewatch.contracts.evidence import EVIDENCE, evidence_names
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.tile import Tile
from linewatch.decision.defects.map_pieces import bounded_scores, cell_pixels, strip_plane
from linewatch.decision.defects.pieces import Pieces
from linewatch.decision.rules import CELL_PX, DecisionRules
from linewatch.geometry.runs import places
from linewatch.geometry.stitch import stitch

AROUND_PX = 12
"""Width of the ring around a piece with which its probabilities and gray levels are compared."""
_BOUND = 0.002  # beyond which a probability counts as certain
_LEAST_SPREAD = 2.0  # gray levels: a picture's own noise
_LEAST_MASS = 1e-4


def evidence_of(pieces: Pieces, prediction: Prediction, rules: DecisionRules, confidence: np.ndarray) -> np.ndarray:
    """Return the evidence of each piece, finite, by `evidence_names`: float64 (n, len(names)).

    confidence: float64 (n,), the score of the class that was chosen for each piece.
    """
    if not len(pieces):
        return np.zeros((0, len(evidence_names(prediction.classes))))
    frame, edges = prediction.frame, prediction.edges
    assert edges is not None
    grid = _grid_of(pieces, prediction, rules)
    left, top, right, bottom = grid.boxes.T * grid.side_px
    width, lines, cells_per_place = right - left, bottom - top, (grid.side_px / CELL_PX) ** 2
    mean, area, mass = grid.sums / grid.size, grid.size * cells_per_place, grid.sums * cells_per_place
    shares = pieces.scores / pieces.weight[:, None]
    ranked = np.sort(np.pad(shares, ((0, 0), (2, 0))), axis=1)
    contrast, darkness, roughness = _relief(grid, prediction)
    told = {
        "peak": _log_odds(grid.highest),
        "mean": _log_odds(mean),
        "mass": np.log(np.maximum(mass, _LEAST_MASS)),
        "solid": grid.solid / grid.size,
        "area": np.log(area),
        "width": np.log(width),
        "lines": np.log(lines),
        "aspect": np.log(width / lines),
        "filled": area * CELL_PX**2 / (width * lines),
        "cut": (top == 0) + 1.0 * (bottom >= frame.valid_lines),
        "edge": np.log1p(np.minimum(left - edges.left_px, edges.right_px - right).clip(0)),
        "contrast": contrast,
        "darkness": darkness,
        "roughness": roughness,
        "screen": _log_odds(_screen(pieces, prediction, rules, grid)),
        "confidence": confidence,
        "class_margin": ranked[:, -1] - ranked[:, -2],
        "outlined": 1.0 - pieces.tiled,
        "others": np.full(len(pieces), np.log1p(len(pieces) - 1)),
        "others_mass": np.log1p((mass.sum() - mass).clip(0)),
        "nearest": np.log1p(_nearest((left + right) / 2, (top + bottom) / 2, alone=edges.right_px - edges.left_px)),
        "frame_mass": np.full(len(pieces), np.log1p(grid.plane.sum(dtype=np.float64) / grid.full * cells_per_place)),
        "prominence": _log_odds(mean) - _log_odds(_around(grid)),
    }
    return np.column_stack([*(told[name] for name in EVIDENCE), shares])


@dataclass(frozen=True, eq=False)
class _Grid:
    """Where n pieces lie on a plane.

    plane: (rows, columns), probability of a defect x `full`. side_px: pixels of a side of one of its places. runs:
    int32 (m, 3), of places, piece after piece. counts: runs of each piece, at least 1.
    """

    plane: np.ndarray
    full: float
    side_px: int
    runs: np.ndarray
    counts: np.ndarray

    @cached_property
    def begins(self) -> np.ndarray:
        return np.cumsum(self.counts) - self.counts

    @cached_property
    def of_run(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @cached_property
    def boxes(self) -> np.ndarray:
        """int64 (n, 4): left, top, right and bottom of each piece."""
        line, start, stop = self.runs.astype(np.int64).T
        left, top = np.minimum.reduceat(start, self.begins), line[self.begins]
        return np.stack(
            [left, top, np.maximum.reduceat(stop, self.begins), line[self.begins + self.counts - 1] + 1], axis=1
        )

    @cached_property
    def size(self) -> np.ndarray:
        """int64 (n,): places of each piece."""
        return np.add.reduceat(self.runs[:, 2] - self.runs[:, 1], self.begins, dtype=np.int64)

    @cached_property
    def values(self) -> np.ndarray:
        """float64 (size.sum(),): the probability in each place, piece after piece."""
        return self.plane.ravel()[places(self.runs, self.plane.shape[1])] / self.full

    @cached_property
    def _firsts(self) -> np.ndarray:
        return np.cumsum(self.size) - self.size

    @cached_property
    def sums(self) -> np.ndarray:
        return np.add.reduceat(self.values, self._firsts)

    @cached_property
    def highest(self) -> np.ndarray:
        return np.maximum.reduceat(self.values, self._firsts)

    @cached_property
    def solid(self) -> np.ndarray:
        """int64 (n,): places in which the probability is 0.5 or more."""
        return np.add.reduceat(self.values >= 0.5, self._firsts, dtype=np.int64)


def _grid_of(pieces: Pieces, prediction: Prediction, rules: DecisionRules) -> _Grid:
    if prediction.maps is not None:
        counts = np.array([len(cells) for cells in pieces.cells.tolist()])
        plane = strip_plane(prediction, rules)
        return _Grid(plane, 1.0, rules.cell_px, np.concatenate(pieces.cells.tolist()), counts)
    tiles = [tile for tile, passed in zip(prediction.tiles, prediction.passed.tolist(), strict=True) if passed]
    lines, width = max(tile.y + tile.lines for tile in tiles), max(tile.x + tile.width for tile in tiles)
    return _Grid(stitch(tiles, prediction.probability, lines, width), 255.0, 1, pieces.runs, pieces.counts)


def _screen(pieces: Pieces, prediction: Prediction, rules: DecisionRules, grid: _Grid) -> np.ndarray:
    """Return the highest score of the screen in the box of each piece, or in the tiles that show it."""
    if prediction.maps is None:
        return np.where(pieces.shown, bounded_scores(prediction.screen_scores[prediction.passed]), 0.0).max(axis=1)
    plane = strip_plane(prediction, rules, 0)
    return np.array([plane[y0:y1, x0:x1].max() for x0, y0, x1, y1 in grid.boxes.tolist()])


def _nearest(x: np.ndarray, y: np.ndarray, *, alone: float) -> np.ndarray:
    """Return the distance from each point to the nearest other one, or `alone` where there is no other."""
    if len(x) == 1:
        return np.array([float(alone)])
    squares = (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2
    np.fill_diagonal(squares, np.inf)
    return np.sqrt(squares.min(axis=1))


def _around(grid: _Grid) -> np.ndarray:
    """Return the mean probability within AROUND_PX around each piece; 0 where that is outside the plane."""
    reach = -(-AROUND_PX // grid.side_px)
    rows, columns = grid.plane.shape
    around, kernel = np.zeros(len(grid.counts)), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    ends = grid.begins + grid.counts
    for i, (x0, y0, x1, y1) in enumerate(grid.boxes.tolist()):
        left, right = max(x0 - reach, 0), min(x1 + reach, columns)
        top, bottom = max(y0 - reach, 0), min(y1 + reach, rows)
        piece = np.zeros((bottom - top, right - left), np.uint8)
        runs = grid.runs[grid.begins[i] : ends[i]] - np.array([top, left, left], np.int32)
        piece.ravel()[places(runs, right - left)] = 1
        ring = cv2.dilate(piece, kernel) > piece
        if (size := np.count_nonzero(ring)) > 0:
            around[i] = (grid.plane[top:bottom, left:right] * ring).sum(dtype=np.float64) / grid.full / size
    return around


def _relief(grid: _Grid, prediction: Prediction) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compare each piece with the ring of steel around its box; zeros where there is no picture or hardly a ring."""
    frame, edges, count = prediction.frame, prediction.edges, len(grid.counts)
    nothing = np.zeros(count)
    if frame.pixels is None or edges is None:
        return nothing, nothing, nothing
    steel = Tile(edges.left_px, 0, edges.right_px - edges.left_px, frame.valid_lines)
    runs, of_run = grid.runs, grid.of_run
    if grid.side_px > 1:
        runs, of_run = cell_pixels(runs, of_run, grid.side_px, steel)
    of_pixel = np.repeat(of_run, runs[:, 2] - runs[:, 1])
    levels = frame.pixels.ravel()[places(runs, frame.pixels.shape[1])].astype(np.float64)
    inside = [np.bincount(of_pixel, power, count) for power in (np.ones(len(levels)), levels, levels**2)]

    x0, y0, x1, y1 = grid.boxes.T * grid.side_px
    x0, x1 = np.maximum(x0 - AROUND_PX, steel.x), np.minimum(x1 + AROUND_PX, steel.x + steel.width)
    y0, y1 = np.maximum(y0 - AROUND_PX, 0), np.minimum(y1 + AROUND_PX, steel.lines)
    windows = zip(y0.tolist(), y1.tolist(), x0.tolist(), x1.tolist(), strict=True)
    means = [cv2.meanStdDev(frame.pixels[top:bottom, left:right]) for top, bottom, left, right in windows]
    mean, spread = np.array(means).reshape(count, 2).T
    size = (x1 - x0) * (y1 - y0)
    ring = [box - part for box, part in zip((size, size * mean, size * (mean**2 + spread**2)), inside, strict=True)]
    mean, spread = _mean_and_spread(*inside)
    mean_around, spread_around = _mean_and_spread(*ring)
    known = (ring[0] >= AROUND_PX) & (inside[0] > 0)
    below = np.where(known, (mean_around - mean) / (spread_around + _LEAST_SPREAD), 0.0)
    rough = np.where(known, np.log((spread + _LEAST_SPREAD) / (spread_around + _LEAST_SPREAD)), 0.0)
    return np.abs(below), below, rough


def _mean_and_spread(count: np.ndarray, sums: np.ndarray, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    count = np.maximum(count, 1)
    mean = sums / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0.0))


def _log_odds(probability: np.ndarray) -> np.ndarray:
    bounded = probability.clip(_BOUND, 1 - _BOUND)
    return np.log(bounded / (1 - bounded))
