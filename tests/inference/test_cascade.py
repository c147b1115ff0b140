"""The cascade's prediction of a frame does not depend on order, batches and time, and frames leave in order."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import nets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from structlog.testing import capture_logs

from linewatch.config.line import LineSettings
from linewatch.contracts.across import AcrossMap
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.frame import Cause, Frame, StripEdges
from linewatch.contracts.manifest import CASCADE, Task
from linewatch.contracts.ports import Backend
from linewatch.contracts.prediction import Depth, Prediction
from linewatch.contracts.tile import Batch, BatchResult
from linewatch.geometry.grid import tile_grid, tiles_on
from linewatch.geometry.stitch import cut, screen_tile_scores
from linewatch.inference import cascade as cascade_module
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.cascade import Cascade
from linewatch.inference.engines import EngineSet, load_engines
from linewatch.inference.pool import EnginePool
from linewatch.inference.settings import InferenceSettings
from linewatch.inference.workload import Workload

LINES, WIDTH, TILE = 64, 208, 64
LADDER = (1, 2, 4)
MS = 1_000_000


def _frame(ordinal: int, valid_lines: int = LINES) -> Frame:
    """Random steel; every fourth frame is dull."""
    rng = np.random.default_rng(ordinal)
    level = 10 if ordinal % 4 == 3 else 120
    pixels = rng.integers(level - 8, level + level, (LINES, WIDTH), dtype=np.uint8)
    pixels[valid_lines:] = 0
    pixels.flags.writeable = False
    return Frame(
        pixels=pixels if valid_lines else None,
        slot=ordinal if valid_lines else None,
        ordinal=ordinal,
        coil="C1",
        side="top",
        camera="cam1",
        sequence=ordinal,
        first_line=ordinal * LINES,
        lines=LINES,
        valid_lines=valid_lines,
        encoder_count=0,
        along_mm=0.0,
        mm_per_line=1.0,
        columns=AcrossMap(0.0, 0.5, WIDTH),
        captured_ns=7,
        fault=None if valid_lines == LINES else Cause.TRUNCATED,
    )


EDGES = (
    StripEdges(0, WIDTH, False, False),
    StripEdges(20, 180, True, True),
    StripEdges(70, 120, True, True),
    StripEdges(0, 0, False, False),
)


def _input(ordinal: int) -> tuple[Frame, StripEdges | None]:
    valid_lines = {5: 0, 6: 40, 10: 1}.get(ordinal % 12, LINES)
    return _frame(ordinal, valid_lines), None if valid_lines == 0 else EDGES[ordinal % 5 % 4]


@pytest.fixture(scope="module")
def pool(engines: EngineSet, backend: Backend) -> Iterator[EnginePool]:
    with EnginePool(engines, backend, LADDER, workers=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def tuned(settings: InferenceSettings) -> InferenceSettings:
    """Use a threshold that some tiles pass, and a share of the classes' thresholds that some of these reach."""
    return settings.model_copy(update={"screen_threshold": 0.6, "claim_share": 1.0, "ladder": LADDER})


def _oracle(frame: Frame, edges: StripEdges | None, pool: EnginePool, threshold: float) -> tuple[np.ndarray, ...]:
    """Return screen scores, passed, class scores and masks, computed one tile after the other."""
    tiles = tiles_on(tile_grid(LINES, WIDTH, TILE, TILE, 16), edges, frame.valid_lines) if edges else ()
    scores = np.zeros(len(tiles), np.float32)
    if tiles and frame.pixels is not None and edges is not None:
        score_map = pool._loaded[Task.SCREEN, 0].executors[0].run(frame.pixels[None, None], 1)[0]
        scores = screen_tile_scores(score_map, 16, tiles, edges, frame.valid_lines)
    passed = scores >= threshold
    class_scores = np.zeros((passed.sum(), len(nets.CLASSES)), np.float32)
    masks = np.zeros((passed.sum(), TILE, TILE), np.uint8)
    for i, tile in enumerate(t for t, p in zip(tiles, passed, strict=True) if p):
        assert frame.pixels is not None
        pixels = np.ascontiguousarray(cut(frame.pixels, tile))[None, None]
        class_scores[i] = pool._loaded[Task.CLASSIFY, 0].executors[0].run(pixels, 1)[0]
        if (class_scores[i] >= np.float32(nets.CLAIM)).any():
            masks[i] = pool._loaded[Task.SEGMENT, 0].executors[0].run(pixels, 1)[0]
    return scores, passed, class_scores, masks


def _arrays(p: Prediction) -> tuple[np.ndarray, ...]:
    return p.screen_scores, p.passed, p.class_scores, p.probability


def _drive(cascade: Cascade, pool: EnginePool, count: int, shuffle: random.Random) -> list[Prediction]:
    """Feed `count` frames, letting results, deadlines and frames come in any order."""
    running: list[Batch] = []
    out: list[Prediction] = []
    fed, now_ns = 0, 0
    while fed < count or cascade.pending:
        now_ns += shuffle.randrange(3) * MS
        choices = ["due", "feed"] if fed < count else ["due", "flush"]
        choices += ["run"] * 2 * bool(running)
        match shuffle.choice(choices):
            case "feed":
                running += cascade.feed(*_input(fed), now_ns)
                fed += 1
            case "due":
                running += cascade.due(now_ns)
            case "flush":
                running += cascade.flush()
            case "run":
                batch = running.pop(shuffle.randrange(len(running)))
                running += cascade.done(pool.run(0, batch), now_ns)
        out += cascade.take_ready()
    assert not running
    return out


def _finish(cascade: Cascade, pool: EnginePool, batches: Sequence[Batch], broken: Task | None = None) -> None:
    """Run `batches` and all batches that follow from them; the engine `broken` fails."""
    running = list(batches)
    while running:
        result = pool.run(0, running.pop(0))
        if result.batch.engine == broken:
            result = replace(result, output=None, error="out of memory")
        running += cascade.done(result, 2) + cascade.flush()


@pytest.mark.slow
@given(seed=st.integers(0, 2**32))
@limits(max_examples=15, deadline=None)
def test_any_interleaving_gives_the_same_predictions_in_order(
    engines: EngineSet, tuned: InferenceSettings, line: LineSettings, pool: EnginePool, seed: int
) -> None:
    out = _drive(Cascade(engines, tuned, line), pool, 12, random.Random(seed))
    assert [p.frame.ordinal for p in out] == list(range(12))
    assert 0 < sum(p.passed.sum() for p in out) < sum(len(p.tiles) for p in out)
    segmented = [mask.any() for p in out for mask in p.probability]
    assert 0 < sum(segmented) < len(segmented)
    for prediction in out:
        for found, expected in zip(
            _arrays(prediction), _oracle(*_input(prediction.frame.ordinal), pool, 0.6), strict=True
        ):
            assert found.dtype == expected.dtype
            assert found.shape == expected.shape
            assert found.tobytes() == expected.tobytes()


def test_a_prediction_names_the_engines_that_served_it(
    engines: EngineSet, tuned: InferenceSettings, line: LineSettings, pool: EnginePool
) -> None:
    every = tuple(pool.identity(task) for task in CASCADE)
    for prediction in _drive(Cascade(engines, tuned, line), pool, 12, random.Random(1)):
        depth = 3 if prediction.probability.any() else 2 if prediction.passed.any() else 1 if prediction.tiles else 0
        served = every[:depth]
        assert prediction.engines == served
        assert prediction.classes == nets.CLASSES
        assert prediction.timing.captured_ns == 7


def test_frames_without_lines_or_strip_pass_through_in_their_turn(
    engines: EngineSet, tuned: InferenceSettings, line: LineSettings, pool: EnginePool
) -> None:
    cascade = Cascade(engines, tuned, line)
    batches = cascade.feed(_frame(0), EDGES[0], 0)
    assert cascade.feed(_frame(1, valid_lines=0), None, 0) == ()
    assert cascade.feed(_frame(2), EDGES[3], 0) == ()
    assert cascade.take_ready() == []
    assert cascade.pending == 3
    more = cascade.done(pool.run(0, batches[0]), 1) + cascade.flush()
    _finish(cascade, pool, more)
    out = cascade.take_ready()
    assert [p.frame.ordinal for p in out] == [0, 1, 2]
    assert [p.tiles for p in out[1:]] == [(), ()]
    assert out[1].edges is None
    assert cascade.pending == 0


def test_the_whole_frame_goes_to_the_screen_without_a_copy(
    engines: EngineSet, tuned: InferenceSettings, line: LineSettings
) -> None:
    frame = _frame(0)
    (batch,) = Cascade(engines, tuned, line).feed(frame, EDGES[0], 0)
    assert batch.engine == Task.SCREEN
    assert frame.pixels is not None
    assert np.shares_memory(batch.pixels, frame.pixels)


def test_waiting_tiles_leave_by_their_deadline(
    engines: EngineSet, tuned: InferenceSettings, line: LineSettings, pool: EnginePool
) -> None:
    cascade = Cascade(engines, tuned.model_copy(update={"screen_threshold": 0.0, "ladder": (1, 2, 8)}), line)
    (screen,) = cascade.feed(_frame(0), EDGES[0], 0)
    assert cascade.next_deadline_ns() is None
    assert cascade.done(pool.run(0, screen), 20 * MS) == ()
    assert cascade.next_deadline_ns() == 25 * MS
    assert cascade.due(25 * MS - 1) == ()
    (classify,) = cascade.due(25 * MS)
    assert (classify.engine, len(classify.refs), len(classify.pixels)) == ("classify", 4, 8)


def test_a_screen_that_fails_fails_its_frame_alone(
    engines: EngineSet, tuned: InferenceSettings, line: LineSettings, pool: EnginePool
) -> None:
    cascade = Cascade(engines, tuned, line)
    (first,), (second,) = cascade.feed(_frame(0), EDGES[0], 0), cascade.feed(_frame(1), EDGES[0], 0)
    assert cascade.done(BatchResult(first, "screen@x", None, "the device is gone"), 1) == ()
    _finish(cascade, pool, cascade.done(pool.run(0, second), 1) + cascade.flush())
    failed, served = cascade.take_ready()
    assert failed.failed is Cause.ENGINE
    assert failed.engines == ()
    assert len(failed.tiles) == len(failed.passed) == 4
    assert not failed.passed.any()
    assert served.failed is None
    assert served.engines


@pytest.mark.parametrize(("broken", "depth"), [(Task.CLASSIFY, Depth.SCREENED), (Task.SEGMENT, Depth.CLASSIFIED)])
def test_an_engine_that_fails_degrades_its_frames_to_the_depth_before_it(
    broken: Task, depth: Depth, engines: EngineSet, tuned: InferenceSettings, line: LineSettings, pool: EnginePool
) -> None:
    cascade = Cascade(engines, tuned.model_copy(update={"screen_threshold": 0.0, "claim_share": 0.0}), line)
    _finish(cascade, pool, cascade.feed(_frame(0), EDGES[0], 0), broken)
    (prediction,) = cascade.take_ready()
    assert prediction.degraded is Cause.ENGINE
    assert prediction.depth is depth
    assert prediction.failed is None
    assert prediction.passed.sum() == len(prediction.class_scores) == len(prediction.probability) == 4
    assert prediction.class_scores.any() == (depth is Depth.CLASSIFIED)
    assert not prediction.probability.any()
    assert prediction.engines == tuple(pool.identity(task) for task in CASCADE)[:depth]


class _Affording:
    """A workload that affords all tasks before `limit`."""

    def __init__(self, limit: Task) -> None:
        self.limit, self.rows = limit, dict.fromkeys(Task, 0)

    def affords(self, task: Task, rows: int, captured_ns: int, now_ns: int) -> bool:
        return not rows or list(CASCADE).index(task) < list(CASCADE).index(self.limit)

    def begin(self, task: Task, rows: int) -> None:
        self.rows[task] += rows

    def end(self, task: Task, rows: int, took_ns: int, now_ns: int) -> None:
        assert took_ns > 0
        self.rows[task] -= rows


@pytest.mark.parametrize("limit", list(CASCADE))
@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_what_would_be_late_is_left_out_and_told(
    limit: Task,
    threshold: float,
    engines: EngineSet,
    tuned: InferenceSettings,
    line: LineSettings,
    pool: EnginePool,
) -> None:
    """Only frames with tiles that pass are shed: a clean frame is inspected once it is screened."""
    load = _Affording(limit)
    at = tuned.model_copy(update={"screen_threshold": threshold, "claim_share": 0.0})
    cascade = Cascade(engines, at, line, load)  # type: ignore[arg-type]
    _finish(cascade, pool, cascade.feed(_frame(0), EDGES[0], 0))
    (prediction,) = cascade.take_ready()
    assert not any(load.rows.values())
    if limit is Task.SCREEN:
        assert (prediction.failed, prediction.degraded, prediction.engines) == (Cause.OVERLOAD, None, ())
    elif threshold == 1.0:
        assert (prediction.failed, prediction.degraded, prediction.depth) == (None, None, Depth.SEGMENTED)
    else:
        assert (prediction.failed, prediction.degraded) == (None, Cause.OVERLOAD)
        assert prediction.depth == list(CASCADE).index(limit)
        assert len(prediction.engines) == prediction.depth


def test_the_threshold_is_the_manifests_unless_configured(
    engines: EngineSet, settings: InferenceSettings, line: LineSettings
) -> None:
    assert Cascade(engines, settings, line).lineup.pass_threshold == 0.5
    assert Cascade(engines, settings.model_copy(update={"screen_threshold": 0.9}), line).lineup.pass_threshold == 0.9


def test_a_score_at_the_threshold_passes(
    engines: EngineSet, tuned: InferenceSettings, line: LineSettings, pool: EnginePool
) -> None:
    scores = _oracle(_frame(0), EDGES[0], pool, 0.5)[0]
    cascade = Cascade(engines, tuned.model_copy(update={"screen_threshold": float(scores.max())}), line)
    (screen,) = cascade.feed(_frame(0), EDGES[0], 0)
    _finish(cascade, pool, [screen])
    (prediction,) = cascade.take_ready()
    assert prediction.passed.tolist() == (scores == scores.max()).tolist()


def test_engines_that_do_not_fit_the_line_are_refused(
    engines: EngineSet, settings: InferenceSettings, line: LineSettings
) -> None:
    with pytest.raises(ConfigError, match="does not fit a frame"):
        Cascade(engines, settings, line.model_copy(update={"width_px": 128}))


@pytest.mark.slow
def test_batches_are_taken_back(
    engines: EngineSet, tuned: InferenceSettings, line: LineSettings, pool: EnginePool
) -> None:
    """Any number of frames uses a few pixel buffers."""
    cascade = Cascade(engines, tuned.model_copy(update={"screen_threshold": 0.0, "ladder": (1, 2)}), line)
    buffers: dict[int, object] = {}  # kept, so that an address is not given out twice
    for ordinal in range(40):
        (screen,) = cascade.feed(replace(_frame(0), ordinal=ordinal), EDGES[0], 0)
        running = cascade.done(pool.run(0, screen), 1) + cascade.flush()
        while running:
            batch, *rest = running
            buffers[id(batch.pixels.base)] = batch.pixels.base
            running = (*rest, *cascade.done(pool.run(0, batch), 2), *cascade.flush())
        assert len(cascade.take_ready()) == 1
    assert len(buffers) <= 6


def test_one_failing_tile_of_a_screen_fails_the_whole_frame(
    engines_dir: Path, tuned: InferenceSettings, line: LineSettings
) -> None:
    settings = tuned.model_copy(update={"screen": "screen-tiles", "ladder": (1,)})
    engines = load_engines(settings)
    with EnginePool(engines, open_backend("onnxruntime"), (1,), workers=1) as pool:
        cascade = Cascade(engines, settings, line)
        first, *others = cascade.feed(_frame(0), EDGES[0], 0)
        for batch in others:
            assert cascade.done(pool.run(0, batch), 1) == ()
        assert cascade.done(BatchResult(first, "screen@x", None, "the device is gone"), 1) == ()
    (prediction,) = cascade.take_ready()
    assert prediction.failed is Cause.ENGINE
    assert prediction.engines == ()
    assert not prediction.screen_scores.any()


def test_a_screen_of_smaller_tiles_says_of_each_tile_the_highest_cell_on_the_strip(
    engines_dir: Path, tuned: InferenceSettings, line: LineSettings
) -> None:
    """Compare with a pixel map: each screen tile's cells painted into the frame, the highest where they overlap."""
    settings = tuned.model_copy(update={"screen": "screen-tiles"})
    engines = load_engines(settings)
    with EnginePool(engines, open_backend("onnxruntime"), LADDER, workers=1) as pool:
        for prediction in _drive(Cascade(engines, settings, line), pool, 12, random.Random(4)):
            frame, edges = prediction.frame, prediction.edges
            if frame.pixels is None or edges is None:
                continue
            painted = np.zeros((LINES, WIDTH), np.float32)
            for tile in tile_grid(LINES, WIDTH, 32, 96, settings.tile_overlap_px):
                cells = (
                    pool._loaded[Task.SCREEN, 0]
                    .executors[0]
                    .run(np.ascontiguousarray(cut(frame.pixels, tile))[None, None], 1)
                )
                view = cut(painted, tile)
                np.maximum(view, np.kron(cells[0], np.ones((16, 16), np.float32)), out=view)
            painted[frame.valid_lines :] = 0
            painted[:, : edges.left_px] = 0
            painted[:, edges.right_px :] = 0
            expected = [cut(painted, tile).max() for tile in prediction.tiles]
            assert prediction.screen_scores.tolist() == expected


class _Broken(Exception):
    """Raised where nobody expects anything to be raised."""


def _raise_for(monkeypatch: pytest.MonkeyPatch, target: str, calls: set[int]) -> None:
    """Have these calls of a function of the cascade raise; the others do what they did."""
    module, name = target.rsplit(".", 1)
    owner = getattr(cascade_module, module, None) if module != "cascade" else cascade_module
    true, count = getattr(owner, name), iter(range(1000))

    def sometimes(*args: object, **named: object) -> object:
        if next(count) in calls:
            raise _Broken("unheard of")
        return true(*args, **named)

    monkeypatch.setattr(owner, name, sometimes)


@pytest.mark.parametrize(
    "target",
    [
        "cascade.tiles_on",
        "cascade.cut",
        "Cascade._look",
        "Cascade._take",
        "Cascade._advance",
        "Cascade._next",
        "Cascade._masks_of",
        "Batcher.add",
        "PendingFrame.take_screen",
        "PendingFrame.prediction",
    ],
)
def test_whatever_is_raised_over_a_frame_costs_that_frame_alone(
    target: str,
    engines: EngineSet,
    tuned: InferenceSettings,
    line: LineSettings,
    pool: EnginePool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at = tuned.model_copy(update={"screen_threshold": 0.0, "claim_share": 0.0})
    whole = _drive(Cascade(engines, at, line), pool, 8, random.Random(1))
    with monkeypatch.context() as patch, capture_logs() as logged:
        _raise_for(patch, target, {5})
        out = _drive(cascade := Cascade(engines, at, line), pool, 8, random.Random(1))
    assert [p.frame.ordinal for p in out] == list(range(8))  # each slot comes back, in order
    lost = [p for p in out if p.failed is Cause.UNTOLD]
    assert {entry["event"] for entry in logged} == {"frame_not_predicted"}
    assert {entry["ordinal"] for entry in logged} == {p.frame.ordinal for p in lost}
    assert len(lost) == 1
    assert (lost[0].scored_px, lost[0].tiles, lost[0].engines, len(lost[0].probability)) == (0, (), (), 0)
    assert cascade.pending == 0
    for found, expected in zip(out, whole, strict=True):
        if found is not lost[0]:
            assert found.engines == expected.engines
            assert all(np.array_equal(*pair) for pair in zip(_arrays(found), _arrays(expected), strict=True))


def test_a_frame_that_is_lost_awaits_what_still_reads_its_pixels(
    engines: EngineSet,
    tuned: InferenceSettings,
    line: LineSettings,
    pool: EnginePool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load = Workload(1, 1e6)
    cascade = Cascade(engines, tuned.model_copy(update={"screen_threshold": 0.0}), line, load)
    (screen,) = cascade.feed(_frame(0), EDGES[0], 0)
    with monkeypatch.context() as patch:
        _raise_for(patch, "cascade.cut", {2})  # two of its four tiles are handed out by then
        waiting = cascade.done(pool.run(0, screen), 1) + cascade.flush()
    assert [len(batch.refs) for batch in waiting] == [2]
    assert cascade.take_ready() == []
    _finish(cascade, pool, waiting)
    (prediction,) = cascade.take_ready()
    assert prediction.failed is Cause.UNTOLD
    assert not any(load._rows.values())


def test_a_change_of_engines_that_fails_leaves_the_ones_before(
    engines: EngineSet,
    tuned: InferenceSettings,
    line: LineSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cascade = Cascade(engines, tuned, line)
    before = cascade.lineup
    changed = before.with_engines(engines, dict.fromkeys(CASCADE, 1), None)
    with monkeypatch.context() as patch:
        patch.setattr(cascade_module, "Batcher", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cascade.use(changed)
    assert cascade.lineup is before
