"""A frame on its way through the engines: what each of them has found in it so far."""

from dataclasses import dataclass, field

import numpy as np

from linewatch.contracts.frame import Cause, Frame, StripEdges
from linewatch.contracts.manifest import Task
from linewatch.contracts.prediction import Depth, Prediction, Timing
from linewatch.contracts.tile import Tile, TileRef
from linewatch.geometry.stitch import screen_tile_scores
from linewatch.inference.lineup import Lineup
from linewatch.inference.scored import scored_cells, scored_px


@dataclass(slots=True)
class PendingFrame:
    """A frame on its way through the engines."""

    frame: Frame
    lineup: Lineup
    edges: StripEdges | None
    strip: StripEdges  # the edges, or none of it
    tiles: tuple[Tile, ...]  # of the inspection grid
    screen_tiles: tuple[Tile, ...]
    screen_scores: np.ndarray
    passed: np.ndarray
    class_scores: np.ndarray
    probability: np.ndarray
    timing: Timing
    stage: Task = Task.SCREEN  # the task whose results are awaited
    awaited: int = 0  # results still missing
    shadowed: dict[TileRef, np.ndarray] = field(default_factory=dict)  # the shadow's output for this stage's tiles
    scored: dict[Tile, np.ndarray | None] = field(default_factory=dict)  # cells of the screen's tiles with a score
    identities: dict[str, str] = field(default_factory=dict)  # task -> engine that ran it
    failed: Cause | None = None
    degraded: Cause | None = None
    depth: Depth = Depth.SEGMENTED
    lost: bool = False  # something was raised over it: what else the engines say of it is not taken

    def lose(self) -> None:
        """Discard what is known of a frame over which something was raised: nothing of it can be believed."""
        self.lost, self.failed, self.degraded, self.depth = True, Cause.UNTOLD, None, Depth.SEGMENTED
        self.tiles, self.screen_tiles = (), ()
        self.screen_scores, self.passed = self.screen_scores[:0], self.passed[:0]
        self.class_scores, self.probability = self.class_scores[:0], self.probability[:0]
        self.shadowed.clear()

    def cut_short(self, cause: Cause, depth: Depth) -> None:
        """Stop the inspection of this frame at `depth`."""
        self.degraded, self.depth = cause, depth

    def take_screen(self, score_map: np.ndarray, seen: Tile) -> None:
        """Take in the screen's scores of one of its tiles; a cell without a score in 0..1 counts as not looked at."""
        cells = self.scored[seen] = scored_cells(score_map, self.lineup.cell_px, seen)
        if cells is not None:
            score_map = np.where(cells, score_map, np.float32(0))
        np.maximum(self.screen_scores, self.scores_from(score_map, self.lineup.cell_px, seen), out=self.screen_scores)

    def scores_from(self, score_map: np.ndarray, cell_px: int, seen: Tile) -> np.ndarray:
        """Return a screen tile's scores for the frame's inspection tiles, 0 for those that it does not overlap."""
        edges, valid_lines = self.strip, self.frame.valid_lines
        if seen.x or seen.y or len(self.screen_tiles) > 1:
            shifted = StripEdges(edges.left_px - seen.x, edges.right_px - seen.x, edges.left_found, edges.right_found)
            parts = tuple(_overlap(tile, seen) for tile in self.tiles)
            return screen_tile_scores(score_map, cell_px, parts, shifted, valid_lines - seen.y)
        return screen_tile_scores(score_map, cell_px, self.tiles, edges, valid_lines)

    def prediction(self) -> Prediction:
        """Return what the engines found in the frame."""
        scored = 0
        if self.failed is None:
            valid_lines = min(self.frame.valid_lines, self.frame.lines)
            scored = scored_px(self.scored, self.screen_tiles, self.lineup.cell_px, self.strip, valid_lines)
        return Prediction(
            frame=self.frame,
            edges=self.edges,
            tiles=self.tiles,
            screen_scores=self.screen_scores,
            passed=self.passed,
            class_scores=self.class_scores,
            probability=self.probability,
            classes=self.lineup.classes,
            engines=tuple(self.identities[task] for task in Task if task in self.identities),
            scored_px=scored,
            degraded=self.degraded,
            depth=self.depth,
            failed=self.failed,
            lineup=self.lineup.serial,
            timing=self.timing,
        )

    def conclude(self, now_ns: int) -> None:
        """Discard what stages that were not completed left behind."""
        self.timing.predicted_ns = now_ns
        if self.failed is not None:
            self.screen_scores[:] = 0
            self.identities.clear()
        if self.depth < Depth.SEGMENTED:
            self.probability[:] = 0
            self.identities.pop(Task.SEGMENT, None)
        if self.depth < Depth.CLASSIFIED:
            self.class_scores[:] = 0
            self.identities.pop(Task.CLASSIFY, None)


def _overlap(tile: Tile, seen: Tile) -> Tile:
    """Return the overlap of both tiles, relative to `seen`; it has no width or no lines when there is none."""
    left, right = max(tile.x, seen.x), min(tile.x + tile.width, seen.x + seen.width)
    top, bottom = max(tile.y, seen.y), min(tile.y + tile.lines, seen.y + seen.lines)
    return Tile(left - seen.x, top - seen.y, max(0, right - left), max(0, bottom - top))
