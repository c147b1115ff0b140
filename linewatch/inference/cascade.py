"""The cascade: the screen looks at everything, what passes goes to classify and segment, frames come out in order."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from linewatch.config.inference import InferenceSettings
from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Cause, Frame, StripEdges
from linewatch.contracts.manifest import Task
from linewatch.contracts.prediction import Prediction, Timing
from linewatch.contracts.tile import Batch, BatchResult, Tile, TileRef
from linewatch.geometry.grid import tile_grid, tiles_on
from linewatch.geometry.stitch import cut, screen_tile_scores
from linewatch.inference.batcher import Batcher
from linewatch.inference.engines import EngineSet

HEADS = (Task.CLASSIFY, Task.SEGMENT)
NO_STRIP = StripEdges(0, 0, False, False)


@dataclass(slots=True)
class _Pending:
    """A frame on its way through the engines."""

    frame: Frame
    edges: StripEdges | None
    strip: StripEdges  # the edges, or none of it
    tiles: tuple[Tile, ...]  # of the inspection grid
    screen_tiles: tuple[Tile, ...]
    screen_scores: np.ndarray
    passed: np.ndarray
    class_scores: np.ndarray
    probability: np.ndarray
    timing: Timing
    screen_only: Cause | None
    awaited: int = 0  # results to come
    identities: dict[str, str] = field(default_factory=dict)  # task -> engine that served
    failed: Cause | None = None
    degraded: Cause | None = None


class Cascade:
    """A state machine owned by one thread: frames go in, batches to run come out; results go in, predictions come out.

    What is predicted of a frame depends on its pixels alone: not on the order of results, on time or on other frames.
    A screen that looks at the whole frame gets the frame's own pixels, alone; other engines get tiles, in batches.
    Rows at and after a frame's `valid_lines` are zero (capture sees to it) and count as no steel: tiles and screen
    cells wholly below are left out.
    """

    def __init__(self, engines: EngineSet, settings: InferenceSettings, line: LineSettings) -> None:
        """The grids follow the engines' input shapes. Raises ConfigError when one does not fit the frame."""
        screen, head = engines.screen.manifest, engines.classify.manifest
        frame_lines, width = line.frame_lines, line.width_px
        self.classes = head.classes
        self.screen_threshold = (
            screen.thresholds["pass"] if settings.screen_threshold is None else settings.screen_threshold
        )
        self._cell_px = screen.cell_px or 1
        overlap_px = settings.tile_overlap_px
        self._tiles = tile_grid(frame_lines, width, head.input.lines, head.input.width, overlap_px)
        self._screen_tiles = tile_grid(frame_lines, width, screen.input.lines, screen.input.width, overlap_px)
        self._heads = Batcher(HEADS, head.input.lines, head.input.width, settings.ladder, settings.batch_deadline_ms)
        self._screens = (  # None: the screen takes the whole frame
            None
            if len(self._screen_tiles) == 1
            else Batcher(
                (Task.SCREEN,), screen.input.lines, screen.input.width, settings.ladder, settings.batch_deadline_ms
            )
        )
        self._pending: dict[int, _Pending] = {}  # by ordinal, in order

    @property
    def pending(self) -> int:
        """Frames that went in and have not come out."""
        return len(self._pending)

    def feed(
        self, frame: Frame, edges: StripEdges | None, now_ns: int, screen_only: Cause | None = None
    ) -> tuple[Batch, ...]:
        """Take in the next frame (ordinals ascend); the batches that it made ready to run.

        `edges`: None when nothing of the frame can be inspected. `screen_only`: why tiles that pass the screen are not
        to be looked at further (overload), or None. `frame.pixels` must stay as they are until its prediction came out.
        """
        strip = NO_STRIP if frame.pixels is None or edges is None else edges
        tiles = tiles_on(self._tiles, strip, frame.valid_lines)
        pending = _Pending(
            frame=frame,
            edges=edges,
            tiles=tiles,
            strip=strip,
            screen_tiles=tiles_on(self._screen_tiles, strip, frame.valid_lines),
            screen_scores=np.zeros(len(tiles), np.float32),
            passed=np.zeros(len(tiles), bool),
            class_scores=self._no_scores(0),
            probability=self._no_masks(0),
            timing=Timing(captured_ns=frame.captured_ns, queued_ns=now_ns),
            screen_only=screen_only,
        )
        self._pending[frame.ordinal] = pending
        pending.awaited = len(pending.screen_tiles)
        if self._screens is None:
            return tuple(_whole(frame, tile) for tile in pending.screen_tiles)
        return _spread(self._screens, pending.screen_tiles, frame, now_ns)

    def done(self, result: BatchResult, now_ns: int) -> tuple[Batch, ...]:
        """Take in what came of a batch; the batches that it made ready to run."""
        batch = result.batch
        ready: list[Batch] = []
        for row, ref in enumerate(batch.refs):
            pending = self._pending[ref.ordinal]
            pending.awaited -= 1
            if batch.engine == Task.SCREEN:
                self._screened(pending, ref, None if result.output is None else result.output[row])
                if not pending.awaited:
                    ready += self._gate(pending, now_ns)
            elif result.output is None:
                pending.degraded = Cause.ENGINE
            else:
                (pending.class_scores if batch.engine == Task.CLASSIFY else pending.probability)[ref.index] = (
                    result.output[row]
                )
            if result.output is not None:
                pending.identities[batch.engine] = result.identity
            if not pending.awaited:
                self._conclude(pending, now_ns)
        if batch.engine != Task.SCREEN:
            self._heads.recycle(batch)
        elif self._screens is not None:
            self._screens.recycle(batch)
        return tuple(ready)

    def next_deadline_ns(self) -> int | None:
        """When `due` will give a batch; None while no tile waits."""
        deadlines = [d for batcher in self._batchers() if (d := batcher.next_deadline_ns) is not None]
        return min(deadlines, default=None)

    def due(self, now_ns: int) -> tuple[Batch, ...]:
        """The batches whose oldest tile has waited for the deadline."""
        return tuple(batch for batcher in self._batchers() for batch in batcher.due(now_ns))

    def flush(self) -> tuple[Batch, ...]:
        """Whatever waits, at once: at the end of the stream, or when workers are idle."""
        return tuple(batch for batcher in self._batchers() for batch in batcher.flush())

    def take_ready(self) -> list[Prediction]:
        """The predictions that are complete, in order of ordinals; a frame waits for all before it."""
        ready = []
        while self._pending:
            ordinal, pending = next(iter(self._pending.items()))
            if pending.awaited:
                break
            del self._pending[ordinal]
            ready.append(self._prediction(pending))
        return ready

    def _screened(self, pending: _Pending, ref: TileRef, score_map: np.ndarray | None) -> None:
        if score_map is None:
            pending.failed = Cause.ENGINE
            return
        scores = _scores_from(score_map, self._cell_px, ref.tile, pending)
        np.maximum(pending.screen_scores, scores, out=pending.screen_scores)

    def _gate(self, pending: _Pending, now_ns: int) -> Iterable[Batch]:
        """All of the screen is in: which tiles go on?"""
        pending.timing.screened_ns = now_ns
        if pending.failed is not None:
            return ()
        pending.passed = pending.screen_scores >= self.screen_threshold
        tiles = tuple(tile for tile, passed in zip(pending.tiles, pending.passed, strict=True) if passed)
        pending.class_scores, pending.probability = self._no_scores(len(tiles)), self._no_masks(len(tiles))
        if pending.screen_only is not None:
            pending.degraded = pending.screen_only if tiles else None
            return ()
        pending.awaited = len(tiles) * len(HEADS)
        return _spread(self._heads, tiles, pending.frame, now_ns)

    def _conclude(self, pending: _Pending, now_ns: int) -> None:
        pending.timing.predicted_ns = now_ns
        if pending.failed is not None:
            pending.screen_scores[:] = 0
            pending.identities.clear()
        if pending.degraded is not None:  # half of an answer is none
            pending.class_scores[:] = 0
            pending.probability[:] = 0
            for task in HEADS:
                pending.identities.pop(task, None)

    def _prediction(self, pending: _Pending) -> Prediction:
        return Prediction(
            frame=pending.frame,
            edges=pending.edges,
            tiles=pending.tiles,
            screen_scores=pending.screen_scores,
            passed=pending.passed,
            class_scores=pending.class_scores,
            probability=pending.probability,
            classes=self.classes,
            engines=tuple(pending.identities[task] for task in Task if task in pending.identities),
            degraded=pending.degraded,
            failed=pending.failed,
            timing=pending.timing,
        )

    def _batchers(self) -> tuple[Batcher, ...]:
        return (self._heads,) if self._screens is None else (self._screens, self._heads)

    def _no_scores(self, tiles: int) -> np.ndarray:
        return np.zeros((tiles, len(self.classes)), np.float32)

    def _no_masks(self, tiles: int) -> np.ndarray:
        tile = self._tiles[0]
        return np.zeros((tiles, tile.lines, tile.width), np.uint8)


def _whole(frame: Frame, tile: Tile) -> Batch:
    assert frame.pixels is not None
    return Batch(Task.SCREEN, (TileRef(frame.ordinal, 0, tile),), frame.pixels[np.newaxis, np.newaxis])


def _spread(batcher: Batcher, tiles: tuple[Tile, ...], frame: Frame, now_ns: int) -> tuple[Batch, ...]:
    if not tiles:
        return ()
    assert frame.pixels is not None
    return tuple(
        batch
        for index, tile in enumerate(tiles)
        for batch in batcher.add(TileRef(frame.ordinal, index, tile), cut(frame.pixels, tile), now_ns)
    )


def _scores_from(score_map: np.ndarray, cell_px: int, seen: Tile, pending: _Pending) -> np.ndarray:
    """What one tile of the screen says of the frame's inspection tiles: 0 for those that it does not touch."""
    edges, valid_lines = pending.strip, pending.frame.valid_lines
    if seen.x or seen.y or len(pending.screen_tiles) > 1:
        shifted = StripEdges(edges.left_px - seen.x, edges.right_px - seen.x, edges.left_found, edges.right_found)
        parts = tuple(_overlap(tile, seen) for tile in pending.tiles)
        return screen_tile_scores(score_map, cell_px, parts, shifted, valid_lines - seen.y)
    return screen_tile_scores(score_map, cell_px, pending.tiles, edges, valid_lines)


def _overlap(tile: Tile, seen: Tile) -> Tile:
    """Their common part in the pixels of `seen`; of no width or no lines when there is none."""
    left, right = max(tile.x, seen.x), min(tile.x + tile.width, seen.x + seen.width)
    top, bottom = max(tile.y, seen.y), min(tile.y + tile.lines, seen.y + seen.lines)
    return Tile(left - seen.x, top - seen.y, max(0, right - left), max(0, bottom - top))
