"""The engines' work on frames: the cascade (screens every frame, classifies tiles that pass, segments tiles near a
class), or one engine that inspects every frame in a single look. Frames leave in order.
"""

import traceback
from collections.abc import Sequence

import numpy as np
import structlog

from linewatch.config.line import LineSettings
from linewatch.contracts.frame import Cause, Frame, StripEdges
from linewatch.contracts.manifest import Task
from linewatch.contracts.prediction import Depth, Prediction, Timing
from linewatch.contracts.tile import Batch, BatchResult, Tile, TileRef
from linewatch.geometry.grid import tiles_on
from linewatch.geometry.stitch import cut
from linewatch.inference.batcher import Batcher
from linewatch.inference.disagreement import TilesSeen
from linewatch.inference.engines import EngineSet
from linewatch.inference.grids import inspection_grid, seen_grid
from linewatch.inference.lineup import Lineup
from linewatch.inference.maps import DEFECT, class_shares, draw_outlines, joined, tile_of
from linewatch.inference.pending import PendingFrame
from linewatch.inference.settings import InferenceSettings
from linewatch.inference.workload import Workload

NO_STRIP = StripEdges(0, 0, False, False)

log = structlog.get_logger()


class Cascade:
    """A state machine owned by one thread: frames go in, batches to run come out; results go in, predictions come out.

    Without a `workload`, the prediction of a frame depends only on its pixels, and not on the order of results, on time
    or on other frames. With one (live), work that would be late is shed, and the prediction says so. An engine that
    looks at every frame (screen or inspect) and takes a whole frame as input gets the frame's own pixels, one frame at
    a time; other engines get tiles in batches. Rows from a frame's `valid_lines` on are zero, which capture guarantees,
    and count as no steel: tiles and cells that lie entirely in them are skipped. What that engine did not score is not
    in the prediction's `scored_px`.

    Whatever is raised over one frame costs that frame: it counts as missed, cause `untold`, and comes out in its place
    once no batch reads its pixels any more.
    """

    def __init__(
        self, engines: EngineSet, settings: InferenceSettings, line: LineSettings, workload: Workload | None = None
    ) -> None:
        """The grids follow the engines' input shapes. Raises ConfigError when one does not fit the frame."""
        self._tiles = inspection_grid(engines, line, settings.tile_overlap_px)
        self._seen = seen_grid(engines, line, settings.tile_overlap_px)
        self._settings = settings
        self._workload = workload
        self._batchers: dict[tuple[Task, int], Batcher] = {}
        self._pending: dict[int, PendingFrame] = {}  # by ordinal, in order
        self._masks: dict[int, np.ndarray] = {}  # by ring slot; the holder of a slot holds its masks
        self._oldest = 0
        self.lineup = Lineup.first(engines, settings)
        self.use(self.lineup)

    def use(self, lineup: Lineup) -> None:
        """Inspect frames that are fed from now on with this line-up; frames under way keep theirs.

        A line-up that is older than the present one is ignored, since the newer one contains its changes.
        """
        if lineup.serial < self.lineup.serial:
            return
        for task, generation in lineup.loaded - set(self._batchers):
            engine = lineup.engines.by_task()[task].manifest.input
            if task is not lineup.looks or len(self._seen) > 1:  # otherwise it gets the whole frame
                self._batchers[task, generation] = Batcher(
                    task,
                    engine.lines,
                    engine.width,
                    self._settings.ladder,
                    self._settings.batch_deadline_ms,
                    generation,
                    masks=task is Task.SEGMENT,
                )
        self.lineup = lineup
        self._drop_unused_batchers()

    @property
    def oldest_lineup(self) -> int:
        """Serial of the oldest line-up that a frame under way, or the next one, needs. Any thread may read it."""
        return self._oldest

    def tiles_seen(self, task: Task) -> int:
        """Return how many tiles of a frame the engine of this task sees at least."""
        return len(self._seen) if task is self.lineup.looks else 1

    @property
    def pending(self) -> int:
        """The number of frames that went in and have not come out."""
        return len(self._pending)

    def feed(self, frame: Frame, edges: StripEdges | None, now_ns: int) -> tuple[Batch, ...]:
        """Take in the next frame (ordinals ascend) and return the batches that are ready to run.

        edges: None when nothing of the frame can be inspected. `frame.pixels` must not change until the frame's
        prediction has come out.
        """
        try:
            pending = self._pend(frame, edges, now_ns)
        except Exception as error:
            self.lose(frame, error, now_ns)
            return ()
        self._pending[frame.ordinal] = pending
        try:
            return self._look(pending, now_ns)
        except Exception as error:
            _lose(pending, error, now_ns)
            return ()

    def lose(self, frame: Frame, error: Exception, now_ns: int) -> None:
        """Take in the next frame as one that cannot be inspected, since this was raised over it."""
        pending = PendingFrame(
            frame=frame,
            lineup=self.lineup,
            edges=None,
            tiles=(),
            strip=NO_STRIP,
            seen=(),
            screen_scores=np.zeros(0, np.float32),
            passed=np.zeros(0, bool),
            class_scores=self._no_scores(0),
            probability=self._no_masks(0),
            stage=self.lineup.looks,
            timing=Timing(captured_ns=frame.captured_ns, queued_ns=now_ns),
        )
        self._pending[frame.ordinal] = pending
        _lose(pending, error, now_ns)

    def _pend(self, frame: Frame, edges: StripEdges | None, now_ns: int) -> PendingFrame:
        strip = NO_STRIP if frame.pixels is None or edges is None else edges
        tiles = tiles_on(self._tiles, strip, frame.valid_lines)
        return PendingFrame(
            frame=frame,
            lineup=self.lineup,
            edges=edges,
            tiles=tiles,
            strip=strip,
            seen=tiles_on(self._seen, strip, frame.valid_lines),
            screen_scores=np.zeros(len(tiles), np.float32),
            passed=np.zeros(len(tiles), bool),
            class_scores=self._no_scores(0),
            probability=self._no_masks(0),
            stage=self.lineup.looks,
            timing=Timing(captured_ns=frame.captured_ns, queued_ns=now_ns),
        )

    def _look(self, pending: PendingFrame, now_ns: int) -> tuple[Batch, ...]:
        """Hand the frame to the engine that looks at every frame, unless it would be late."""
        seen = pending.seen
        if not self._affords(pending.stage, len(seen), pending.frame, now_ns):
            pending.failed = Cause.OVERLOAD
            pending.conclude(now_ns)
            return ()
        return self._hand_out(pending.stage, pending, seen, range(len(seen)), now_ns)

    def done(self, result: BatchResult, now_ns: int) -> tuple[Batch, ...]:
        """Take in the result of a batch and return the batches that are ready to run."""
        batch = result.batch
        task = Task(batch.engine)
        ready: list[Batch] = []
        try:
            if self._workload is not None:
                self._workload.end(task, len(batch.refs), result.took_ns, now_ns)
        except Exception as error:
            _log("batch_not_counted", error)
        for row, ref in enumerate(batch.refs):
            pending = self._pending[ref.ordinal]
            pending.awaited -= 1
            try:
                self._take_row(pending, result, row, ref)
                if not pending.awaited:
                    ready += self._advance(pending, now_ns)
            except Exception as error:
                _lose(pending, error, now_ns)
        try:
            if (task, batch.generation) in self._batchers:
                self._batchers[task, batch.generation].recycle(batch)
        except Exception as error:
            _log("batch_not_recycled", error)
        return tuple(ready)

    def next_deadline_ns(self) -> int | None:
        """Return when `due` will return a batch; None while no tile waits."""
        deadlines = [d for batcher in self._batchers.values() if (d := batcher.next_deadline_ns) is not None]
        return min(deadlines, default=None)

    def due(self, now_ns: int) -> tuple[Batch, ...]:
        """Return the batches whose oldest tile has reached its deadline."""
        return tuple(batch for batcher in self._batchers.values() for batch in batcher.due(now_ns))

    def flush(self) -> tuple[Batch, ...]:
        """Return all waiting tiles as batches: at the end of the stream, or when workers are idle."""
        return tuple(batch for batcher in self._batchers.values() for batch in batcher.flush())

    def take_ready(self) -> list[Prediction]:
        """Return the complete predictions, in order of ordinals; a frame waits for all frames before it."""
        ready = []
        while self._pending:
            ordinal, pending = next(iter(self._pending.items()))
            if pending.awaited:
                break
            del self._pending[ordinal]
            try:
                ready.append(pending.prediction())
            except Exception as error:
                _lose(pending, error, pending.timing.predicted_ns)
                ready.append(pending.prediction())
        if ready:
            self._drop_unused_batchers()
        return ready

    def _drop_unused_batchers(self) -> None:
        """Drop the batchers of line-ups that are no longer needed."""
        oldest = next(iter(self._pending.values())).lineup if self._pending else self.lineup
        if oldest.serial == self._oldest:
            return
        self._oldest = oldest.serial
        needed = {oldest, self.lineup, *(pending.lineup for pending in self._pending.values())}
        used = {pair for lineup in needed for pair in lineup.loaded}
        self._batchers = {pair: batcher for pair, batcher in self._batchers.items() if pair in used}

    def _take_row(self, pending: PendingFrame, result: BatchResult, row: int, ref: TileRef) -> None:
        """Store one row of a result in its frame."""
        if pending.lost:
            return
        task = Task(result.batch.engine)
        output = None if result.output is None or row >= len(result.output) else result.output[row]
        self._take(task, pending, ref, output)
        if output is not None:
            pending.identities[task] = result.identity

    def _take(self, task: Task, pending: PendingFrame, ref: TileRef, output: np.ndarray | None) -> None:
        """Store one row's output in its frame; None: the engine failed."""
        if task is pending.lineup.looks:
            if output is None:
                pending.failed = Cause.ENGINE
            elif task is Task.SCREEN:
                pending.take_screen(output, ref.tile)
            else:
                pending.take_maps(output, ref.tile)
        elif output is None:
            pending.cut_short(Cause.ENGINE, Depth.SCREENED if task is Task.CLASSIFY else Depth.CLASSIFIED)
        else:
            (pending.class_scores if task is Task.CLASSIFY else pending.probability)[ref.index] = output

    def _ask_shadow(self, pending: PendingFrame) -> None:
        """Have the shadow of this stage's engine answer the same tiles aside, unless it or the workers are busy."""
        shadow, stage, rows = pending.lineup.shadow, pending.stage, pending.rows
        if shadow is None or shadow.task is not stage or pending.failed is not None or pending.degraded is not None:
            return
        if not rows or not shadow.free or (self._workload is not None and not self._workload.calm):
            return
        pixels, cell_px = pending.frame.pixels, shadow.engine.manifest.cell_px or 1
        assert pixels is not None
        seen, tiles = pending.seen, pending.tiles
        whole = pixels.copy()  # the slot of the ring is another frame's when the answers come
        if stage is Task.INSPECT and pending.maps is not None:
            maps, windows, shape = pending.maps, pending.windows(tiles), pixels.shape
            shown = TilesSeen(pending.frame, whole, [tile_of(one, cell_px, *shape) for one in windows])

            def compare(answers: np.ndarray) -> None:
                theirs = joined(dict(zip(seen, answers, strict=True)), cell_px, *shape)
                shadow.compare_maps(maps, theirs, windows, shown)

        elif stage is Task.SCREEN:
            scores, scores_from = pending.screen_scores.copy(), pending.screen_geometry()
            shown = TilesSeen(pending.frame, whole, tiles)

            def compare(answers: np.ndarray) -> None:
                theirs = np.zeros_like(scores)
                for tile, answer in zip(seen, answers, strict=True):
                    np.maximum(theirs, scores_from(answer, cell_px, tile), out=theirs)
                shadow.compare(scores, theirs, shown)

        else:
            seen = tuple(pending.passed_tiles[row] for row in rows)
            ours = (pending.class_scores if stage is Task.CLASSIFY else pending.probability)[list(rows)]
            shown = TilesSeen(pending.frame, whole, seen)

            def compare(answers: np.ndarray) -> None:
                shadow.compare(ours, answers, shown)

        shadow.ask(np.stack([cut(pixels, tile) for tile in seen])[:, np.newaxis], compare)

    def _advance(self, pending: PendingFrame, now_ns: int) -> tuple[Batch, ...]:
        """Start the next stage of a frame for which all results of one stage have arrived."""
        if pending.lost:
            pending.conclude(now_ns)
            return ()
        lineup = pending.lineup
        if pending.stage is Task.INSPECT and pending.failed is None:
            pending.join_maps()
        try:
            self._ask_shadow(pending)
        except Exception as error:  # an engine on trial decides nothing, and costs no frame
            assert lineup.shadow is not None
            lineup.shadow.agreement.failed += 1
            lineup.shadow.agreement.fault = f"cannot be compared: {type(error).__name__}: {error}"
        if pending.stage is Task.INSPECT:
            pending.timing.screened_ns = now_ns
            self._tell(pending)
            ready: tuple[Batch, ...] = ()
        elif pending.stage is Task.SCREEN:
            pending.timing.screened_ns = now_ns
            if pending.failed is None:
                pending.passed = pending.screen_scores >= lineup.pass_threshold
            tiles = int(pending.passed.sum())
            pending.class_scores = self._no_scores(tiles)
            pending.probability = self._masks_of(pending.frame.slot, tiles)
            ready = self._next(Task.CLASSIFY, pending, range(tiles), now_ns)
        elif pending.stage is Task.CLASSIFY and pending.degraded is None:
            near_claims = lineup.claims * np.float32(self._settings.claim_share)
            near = np.flatnonzero((pending.class_scores >= near_claims).any(axis=1))
            ready = self._next(Task.SEGMENT, pending, near.tolist(), now_ns)
        else:
            ready = ()
        if not pending.awaited:
            pending.conclude(now_ns)
        return ready

    def _next(self, task: Task, pending: PendingFrame, rows: Sequence[int], now_ns: int) -> tuple[Batch, ...]:
        """Hand out `rows` of the passed tiles, unless they would be late."""
        pending.stage = task
        if not self._affords(task, len(rows), pending.frame, now_ns):
            pending.cut_short(Cause.OVERLOAD, Depth.SCREENED if task is Task.CLASSIFY else Depth.CLASSIFIED)
            return ()
        return self._hand_out(task, pending, pending.passed_tiles, rows, now_ns)

    def _tell(self, pending: PendingFrame) -> None:
        """Tell of a frame's passed tiles what the maps of an inspect engine say."""
        if pending.maps is None:
            return
        passed, lineup = pending.passed_tiles, pending.lineup
        pending.class_scores = class_shares(pending.maps, pending.windows(passed), lineup.pass_threshold)
        pending.probability = self._masks_of(pending.frame.slot, len(passed))
        draw_outlines(pending.maps[DEFECT], lineup.cell_px, passed, pending.probability)

    def _hand_out(
        self, task: Task, pending: PendingFrame, tiles: Sequence[Tile], rows: Sequence[int], now_ns: int
    ) -> tuple[Batch, ...]:
        """Hand `rows` of `tiles` to the engine; return the batches that are ready. The frame awaits the results."""
        generation = pending.lineup.generations[task]
        if self._workload is not None:
            self._workload.begin(task, len(rows))
        frame, pending.rows = pending.frame, rows
        if not rows:
            return ()
        assert frame.pixels is not None
        ready: list[Batch] = []
        batcher = self._batchers.get((task, generation))
        try:
            for row in rows:
                ref = TileRef(frame.ordinal, row, tiles[row])
                if batcher is None:  # it looks at the whole frame, and gets the pixels in the ring
                    ready.append(Batch(task, (ref,), frame.pixels[np.newaxis, np.newaxis], generation))
                else:
                    ready += batcher.add(ref, cut(frame.pixels, tiles[row]), now_ns)
                pending.awaited += 1
        except Exception as error:  # what was handed out before is awaited, and the batches that it filled must run
            _lose(pending, error, now_ns)
            if self._workload is not None:
                self._workload.begin(task, pending.awaited - len(rows))
        return tuple(ready)

    def _affords(self, task: Task, rows: int, frame: Frame, now_ns: int) -> bool:
        return self._workload is None or self._workload.affords(task, rows, frame.captured_ns, now_ns)

    def _no_scores(self, tiles: int) -> np.ndarray:
        return np.zeros((tiles, len(self.lineup.classes)), np.float32)

    def _masks_of(self, slot: int | None, tiles: int) -> np.ndarray:
        """Return zeroed masks that nobody else uses until the slot is released, so not before the frame is decided."""
        if slot is None:
            return self._no_masks(tiles)
        if slot not in self._masks:
            self._masks[slot] = self._no_masks(len(self._tiles))
        masks = self._masks[slot][:tiles]
        masks[:] = 0
        return masks

    def _no_masks(self, tiles: int) -> np.ndarray:
        tile = self._tiles[0]
        return np.zeros((tiles, tile.lines, tile.width), np.uint8)


def _lose(pending: PendingFrame, error: Exception, now_ns: int) -> None:
    """Give up a frame over which this was raised. It still awaits the results of what was handed out."""
    pending.lose()
    pending.conclude(now_ns)
    _log("frame_not_predicted", error, coil=pending.frame.coil, ordinal=pending.frame.ordinal)


def _log(event: str, error: Exception, **fields: object) -> None:
    at = traceback.extract_tb(error.__traceback__)[-1]
    text = f"{type(error).__name__}: {error}"[:1000]
    log.error(event, error=text, at=f"{at.filename}:{at.lineno}", **fields)
