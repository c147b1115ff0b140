"""A frame on its way through the engines: what each of them has found in it so far."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from linewatch.contracts.frame import Cause, Frame, StripEdges
from linewatch.contracts.manifest import Task
from linewatch.contracts.prediction import Depth, Prediction, Timing
from linewatch.contracts.tile import Tile
from linewatch.geometry.stitch import cells_on_strip, screen_tile_scores
from linewatch.inference.lineup import Lineup
from linewatch.inference.maps import DEFECT, SCREEN, checked_maps, joined
from linewatch.inference.scored import scored_cells, scored_px


@dataclass(slots=True)
class PendingFrame:
    """A frame on its way through the engines."""

    frame: Frame
    lineup: Lineup
    edges: StripEdges | None
    strip: StripEdges  # the edges, or none of it
    tiles: tuple[Tile, ...]  # of the inspection grid
    seen: tuple[Tile, ...]  # of the grid of the engine that looks at every frame
    screen_scores: np.ndarray
    passed: np.ndarray
    class_scores: np.ndarray
    probability: np.ndarray
    stage: Task  # the task whose results are awaited
    timing: Timing
    awaited: int = 0  # results still missing
    rows: Sequence[int] = ()  # of its tiles, those that were handed out in this stage
    scored: dict[Tile, np.ndarray | None] = field(default_factory=dict)  # cells of the seen tiles with a score
    parts: dict[Tile, np.ndarray] = field(default_factory=dict)  # an inspect engine's maps of the seen tiles
    maps: np.ndarray | None = None  # those of the whole frame
    identities: dict[str, str] = field(default_factory=dict)  # task -> engine that ran it
    failed: Cause | None = None
    degraded: Cause | None = None
    depth: Depth = Depth.SEGMENTED
    lost: bool = False  # something was raised over it: what else the engines say of it is not taken

    def lose(self) -> None:
        """Discard what is known of a frame over which something was raised: nothing of it can be believed."""
        self.lost, self.failed, self.degraded, self.depth = True, Cause.UNTOLD, None, Depth.SEGMENTED
        self.tiles, self.seen, self.maps = (), (), None
        self.screen_scores, self.passed = self.screen_scores[:0], self.passed[:0]
        self.class_scores, self.probability = self.class_scores[:0], self.probability[:0]
        self.parts.clear()

    def cut_short(self, cause: Cause, depth: Depth) -> None:
        """Stop the inspection of this frame at `depth`."""
        self.degraded, self.depth = cause, depth

    def take_screen(self, score_map: np.ndarray, seen: Tile) -> None:
        """Take in the screen's scores of one of its tiles; a cell without a score in 0..1 counts as not looked at."""
        cells = self.scored[seen] = scored_cells(score_map, self.lineup.cell_px, seen)
        if cells is not None:
            score_map = np.where(cells, score_map, np.float32(0))
        np.maximum(self.screen_scores, self.scores_from(score_map, self.lineup.cell_px, seen), out=self.screen_scores)

    def take_maps(self, maps: np.ndarray, seen: Tile) -> None:
        """Take in an inspect engine's maps of one tile; a cell that lacks a number in 0..1 counts as not looked at."""
        self.parts[seen], self.scored[seen] = checked_maps(maps, self.lineup.cell_px, seen)

    def join_maps(self) -> None:
        """Take in the maps of the frame, once those of all its tiles are there, and which tiles pass."""
        self.maps = self.joined_maps(self.parts)
        self.parts.clear()
        cell_px, valid_lines = self.lineup.cell_px, self.frame.valid_lines
        scores, highest = (
            screen_tile_scores(self.maps[plane], cell_px, self.tiles, self.strip, valid_lines)
            for plane in (SCREEN, DEFECT)
        )
        self.screen_scores, self.passed = scores, highest >= self.lineup.pass_threshold

    def joined_maps(self, parts: Mapping[Tile, np.ndarray]) -> np.ndarray:
        """Return the frame's maps from those of all its tiles."""
        pixels = self.frame.pixels
        assert pixels is not None
        return joined(parts, self.lineup.cell_px, *pixels.shape)

    def windows(self, tiles: Iterable[Tile]) -> list[tuple[slice, slice]]:
        """Return the cells of the maps in each of these tiles, which show strip, that lie on the strip."""
        found = (cells_on_strip(tile, self.lineup.cell_px, self.strip, self.frame.valid_lines) for tile in tiles)
        return [window for window in found if window is not None]

    @property
    def passed_tiles(self) -> list[Tile]:
        return [tile for tile, passes in zip(self.tiles, self.passed, strict=True) if passes]

    def scores_from(self, score_map: np.ndarray, cell_px: int, seen: Tile) -> np.ndarray:
        """Return a screen tile's scores for the frame's inspection tiles, 0 for those that it does not overlap."""
        return self.screen_geometry()(score_map, cell_px, seen)

    def screen_geometry(self) -> Callable[[np.ndarray, int, Tile], np.ndarray]:
        """Return `scores_from` for the frame as it is now, to be called from any thread."""
        edges, valid_lines, tiles, whole = self.strip, self.frame.valid_lines, self.tiles, len(self.seen) == 1

        def scores_from(score_map: np.ndarray, cell_px: int, seen: Tile) -> np.ndarray:
            if seen.x or seen.y or not whole:
                left_px, right_px = edges.left_px - seen.x, edges.right_px - seen.x
                shifted = StripEdges(left_px, right_px, edges.left_found, edges.right_found)
                parts = tuple(_overlap(tile, seen) for tile in tiles)
                return screen_tile_scores(score_map, cell_px, parts, shifted, valid_lines - seen.y)
            return screen_tile_scores(score_map, cell_px, tiles, edges, valid_lines)

        return scores_from

    def prediction(self) -> Prediction:
        """Return what the engines found in the frame."""
        scored = 0
        if self.failed is None:
            valid_lines = min(self.frame.valid_lines, self.frame.lines)
            scored = scored_px(self.scored, self.seen, self.lineup.cell_px, self.strip, valid_lines)
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
            maps=self.maps,
            timing=self.timing,
        )

    def conclude(self, now_ns: int) -> None:
        """Discard what stages that were not completed left behind."""
        self.timing.predicted_ns = now_ns
        if self.failed is not None:
            self.screen_scores[:] = 0
            self.maps = None
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
