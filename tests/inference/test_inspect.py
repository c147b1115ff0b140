"""An engine that inspects a frame in one look: its maps become a prediction, whatever the order of its answers."""

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import hypothesis.strategies as st
import nets
import numpy as np
import pytest
from asked_at_once import AskedAtOnce
from hypothesis import given
from hypothesis import settings as limits
from test_cascade import EDGES, LADDER, LINES, WIDTH, _arrays, _drive, _finish, _frame

from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError, EngineError
from linewatch.contracts.frame import Cause, Frame, StripEdges
from linewatch.contracts.manifest import CASCADE, EngineManifest, Quantisation, Task
from linewatch.contracts.ports import Backend
from linewatch.contracts.prediction import Depth, Prediction
from linewatch.contracts.tile import BatchResult, Tile
from linewatch.geometry.grid import tile_grid, tiles_on
from linewatch.inference.answers import AnswerCheck
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.cascade import Cascade
from linewatch.inference.engines import Engine, EngineSet, find_engine, load_engines
from linewatch.inference.grids import seen_grid
from linewatch.inference.lineup import Lineup
from linewatch.inference.maps import checked_maps, class_shares, draw_outlines, joined
from linewatch.inference.pool import EnginePool
from linewatch.inference.reference_tiles import write_reference_tiles
from linewatch.inference.settings import InferenceSettings
from linewatch.inference.shadow import Shadow
from linewatch.inference.workload import Workload

LEVEL, CELL = 0.15, 4
CALLED = 4 * LEVEL  # the threshold whose lowest share is LEVEL
PLANES = 2 + len(nets.CLASSES)


def _at(engine: Engine, level: float) -> Engine:
    return replace(engine, manifest=engine.manifest.model_copy(update={"thresholds": {"defect": level}}))


@pytest.fixture(scope="module")
def inspecting(settings: InferenceSettings) -> InferenceSettings:
    return settings.model_copy(update={"chain": "inspect", "ladder": LADDER})


@pytest.fixture(scope="module", params=["inspect", "inspect-tiles"])
def chain(request: pytest.FixtureRequest, inspecting: InferenceSettings) -> EngineSet:
    """Return an engine that looks at the whole frame, and one that does so in tiles; some of their tiles pass."""
    found = load_engines(inspecting.model_copy(update={"inspect": request.param}))
    return EngineSet(inspect=_at(found.looks, CALLED))


@pytest.fixture(scope="module")
def pool(chain: EngineSet, backend: Backend) -> Iterator[EnginePool]:
    with EnginePool(chain, backend, LADDER, workers=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def whole(inspecting: InferenceSettings) -> EngineSet:
    return EngineSet(inspect=_at(load_engines(inspecting).looks, CALLED))


@pytest.fixture
def answering(whole: EngineSet) -> Iterator[EnginePool]:
    with EnginePool(whole, open_backend("onnxruntime"), LADDER, workers=1) as opened:
        yield opened


def _maps(frame: Frame, edges: StripEdges, chain: EngineSet, pool: EnginePool) -> np.ndarray:
    """Return a frame's maps, joined cell by cell."""
    assert frame.pixels is not None
    spec = chain.looks.manifest.input
    told = np.zeros((PLANES, LINES // CELL, WIDTH // CELL), np.float32)
    looked = np.zeros(told.shape[1:], bool)
    for tile in tiles_on(tile_grid(LINES, WIDTH, spec.lines, spec.width, 16, CELL), edges, frame.valid_lines):
        cut = np.ascontiguousarray(frame.pixels[tile.y : tile.y + tile.lines, tile.x : tile.x + tile.width])
        maps = pool._loaded[Task.INSPECT, 0].executors[0].run(cut[None, None], 1)[0]
        for row in range(maps.shape[1]):
            for column in range(maps.shape[2]):
                y, x = tile.y // CELL + row, tile.x // CELL + column
                told[0, y, x] = max(told[0, y, x], maps[0, row, column])
                if not looked[y, x] or maps[1, row, column] > told[1, y, x]:
                    told[1:, y, x] = maps[1:, row, column]
                looked[y, x] = True
    return told


def _pixels(plane: np.ndarray) -> np.ndarray:
    """Return a plane at pixels, float64 (LINES, WIDTH), interpolated along one axis after the other."""
    for axis, extent in ((0, LINES), (1, WIDTH)):
        centres = np.arange(plane.shape[axis]) * CELL + CELL / 2
        pixels = np.arange(extent) + 0.5
        plane = np.apply_along_axis(lambda values, c=centres, p=pixels: np.interp(p, c, values), axis, plane)
    return plane


def _check(prediction: Prediction, chain: EngineSet, pool: EnginePool) -> None:
    frame, edges = prediction.frame, prediction.edges
    side = chain.looks.manifest.input.lines  # of a prediction's tiles, as it is below 256 px
    tiles = tiles_on(tile_grid(LINES, WIDTH, side, side, 16), edges, frame.valid_lines) if edges else ()
    assert prediction.tiles == tiles
    if not tiles:
        assert prediction.maps is None
        assert (len(prediction.passed), len(prediction.probability), prediction.scored_px) == (0, 0, 0)
        return
    assert edges is not None
    maps = _maps(frame, edges, chain, pool)
    assert prediction.maps is not None
    assert prediction.maps.tobytes() == maps.tobytes()
    assert prediction.scored_px == frame.valid_lines * edges.width_px
    fine, row = _pixels(maps[1].astype(np.float64)), 0
    for tile, score, passed in zip(tiles, prediction.screen_scores, prediction.passed, strict=True):
        on_strip = [
            (y, x)
            for y in range(tile.y // CELL, -(-min(tile.y + tile.lines, frame.valid_lines) // CELL))
            for x in range(max(tile.x, edges.left_px) // CELL, -(-min(tile.x + tile.width, edges.right_px) // CELL))
        ]
        assert score == max(maps[0][at] for at in on_strip)
        reaching = [at for at in on_strip if maps[1][at] >= LEVEL]
        assert passed == bool(reaching)
        if passed:
            mass = sum(float(maps[1][at]) for at in reaching)
            shares = [sum(float(plane[at]) * float(maps[1][at]) for at in reaching) / mass for plane in maps[2:]]
            assert prediction.class_scores[row] == pytest.approx(shares, abs=1e-5)
            expected = fine[tile.y : tile.y + tile.lines, tile.x : tile.x + tile.width] * 255
            assert np.abs(prediction.probability[row] - expected).max() <= 0.501
            row += 1
    assert len(prediction.class_scores) == len(prediction.probability) == row


@pytest.mark.slow
@given(seed=st.integers(0, 2**32))
@limits(max_examples=10, deadline=None)
def test_any_interleaving_gives_the_same_predictions_in_order(
    chain: EngineSet, inspecting: InferenceSettings, line: LineSettings, pool: EnginePool, seed: int
) -> None:
    out = _drive(Cascade(chain, inspecting, line), pool, 12, random.Random(seed))
    assert [p.frame.ordinal for p in out] == list(range(12))
    assert 0 < sum(p.passed.sum() for p in out) < sum(len(p.tiles) for p in out)
    for prediction in out:
        _check(prediction, chain, pool)
        assert (prediction.depth, prediction.degraded, prediction.failed) == (Depth.SEGMENTED, None, None)
        assert prediction.engines == ((pool.identity(Task.INSPECT),) if prediction.tiles else ())
        assert prediction.classes == nets.CLASSES


def test_the_whole_frame_goes_in_and_its_maps_come_out_without_a_copy(
    whole: EngineSet, inspecting: InferenceSettings, line: LineSettings, answering: EnginePool
) -> None:
    frame, cascade = _frame(0), Cascade(whole, inspecting, line)
    (batch,) = cascade.feed(frame, EDGES[0], 0)
    assert frame.pixels is not None
    assert np.shares_memory(batch.pixels, frame.pixels)
    result = answering.run(0, batch)
    assert cascade.done(result, 1) == ()
    (prediction,) = cascade.take_ready()
    assert prediction.maps is not None
    assert result.output is not None
    assert np.shares_memory(prediction.maps, result.output)
    assert prediction.timing.screened_ns == prediction.timing.predicted_ns == 1


def test_an_engine_that_fails_fails_its_frame_alone(
    whole: EngineSet, inspecting: InferenceSettings, line: LineSettings, answering: EnginePool
) -> None:
    cascade = Cascade(whole, inspecting, line)
    (first,), (second,) = cascade.feed(_frame(0), EDGES[0], 0), cascade.feed(_frame(1), EDGES[0], 0)
    assert cascade.done(BatchResult(first, "inspect@x", None, "the device is gone"), 1) == ()
    _finish(cascade, answering, [second])
    failed, served = cascade.take_ready()
    assert (failed.failed, failed.engines, failed.maps, failed.scored_px) == (Cause.ENGINE, (), None, 0)
    assert not failed.passed.any()
    assert served.failed is None
    assert served.maps is not None


def test_one_tile_without_an_answer_fails_the_frame(inspecting: InferenceSettings, line: LineSettings) -> None:
    engines = load_engines(inspecting.model_copy(update={"inspect": "inspect-tiles", "ladder": (1,)}))
    with EnginePool(engines, open_backend("onnxruntime"), (1,), workers=1) as pool:
        cascade = Cascade(engines, inspecting.model_copy(update={"ladder": (1,)}), line)
        first, *others = cascade.feed(_frame(0), EDGES[0], 0)
        assert len(others) > 2
        cascade.done(BatchResult(first, "inspect@x", None, "the device is gone"), 1)
        _finish(cascade, pool, others)
    (prediction,) = cascade.take_ready()
    assert (prediction.failed, prediction.maps, prediction.scored_px) == (Cause.ENGINE, None, 0)


def test_a_frame_that_would_be_late_is_missed(
    whole: EngineSet, inspecting: InferenceSettings, line: LineSettings
) -> None:
    load = Workload(workers=1, deadline_ms=100.0)
    load.begin(Task.INSPECT, 1)
    load.end(Task.INSPECT, 1, 80_000_000, 0)
    cascade = Cascade(whole, inspecting, line, load)
    (batch,) = cascade.feed(replace(_frame(0), captured_ns=1), EDGES[0], 1)
    assert cascade.feed(replace(_frame(1), captured_ns=1), EDGES[0], 1) == ()
    assert load.shed == (Task.INSPECT,)
    cascade.done(BatchResult(batch, "inspect@x", None, "the device is gone"), 2)
    assert [one.failed for one in cascade.take_ready()] == [Cause.ENGINE, Cause.OVERLOAD]
    assert cascade.feed(replace(_frame(2), captured_ns=3), EDGES[0], 3), "one that is in time is looked at"


@pytest.mark.parametrize(("value", "plane"), [(np.nan, 0), (np.inf, 1), (-0.5, 2), (1.5, PLANES - 1)])
def test_a_cell_without_numbers_was_not_looked_at(
    value: float,
    plane: int,
    whole: EngineSet,
    inspecting: InferenceSettings,
    line: LineSettings,
    answering: EnginePool,
) -> None:
    cascade = Cascade(whole, inspecting, line)
    (batch,) = cascade.feed(_frame(0), EDGES[1], 0)
    result = answering.run(0, batch)
    assert result.output is not None
    output = result.output.copy()
    output[0, plane, 2:4, 10] = value  # 8 lines x 4 px on the strip
    output[0, plane, 5, 0] = value  # off the strip
    cascade.done(replace(result, output=output), 1)
    (prediction,) = cascade.take_ready()
    assert prediction.scored_px == LINES * EDGES[1].width_px - 2 * CELL * CELL
    assert prediction.maps is not None
    assert not prediction.maps[:, 2:4, 10].any()
    assert np.isfinite(prediction.maps).all()
    for tile, mask in zip(np.array(prediction.tiles)[prediction.passed], prediction.probability, strict=True):
        if tile.x <= 40 < tile.x + tile.width:
            assert not mask[11:13, 41 - tile.x : 43 - tile.x].any(), "between the two cells' centres"


def test_what_rounding_carries_past_one_is_a_number(whole: EngineSet) -> None:
    maps = np.full((PLANES, LINES // CELL, WIDTH // CELL), 0.5, np.float32)
    maps[3, 1, 1], maps[4, 1, 1] = np.float32(1.0000001), -1e-7
    told, good = checked_maps(maps, CELL, Tile(0, 0, WIDTH, LINES))
    assert good is None
    assert (told[3, 1, 1], told[4, 1, 1]) == (1, 0)
    with pytest.raises(ValueError, match="cells for a tile"):
        checked_maps(maps[:, 1:], CELL, Tile(0, 0, WIDTH, LINES))


def test_in_the_overlap_of_two_tiles_the_surer_one_names_the_class() -> None:
    left, right = np.zeros((4, 1, 4), np.float32), np.zeros((4, 1, 4), np.float32)
    left[:, 0, 3], right[:, 0, 1] = (0.2, 0.9, 0.8, 0.2), (0.4, 0.6, 0.1, 0.9)  # frame column 3
    left[:, 0, 2], right[:, 0, 0] = (0.0, 0.5, 1.0, 0.0), (0.0, 0.5, 0.0, 1.0)  # frame column 2, as sure as each other
    parts = {Tile(8, 0, 16, 4): right, Tile(0, 0, 16, 4): left}
    whole = joined(parts, CELL, 4, 24)
    assert whole[:, 0, 3] == pytest.approx([0.4, 0.9, 0.8, 0.2])
    assert whole[:, 0, 2] == pytest.approx([0.0, 0.5, 1.0, 0.0])
    assert whole.tobytes() == joined(dict(reversed(parts.items())), CELL, 4, 24).tobytes()


def test_a_tiles_classes_are_those_of_its_cells_that_reach_the_level() -> None:
    maps = np.zeros((4, 2, 2), np.float32)
    maps[1:, 0, 0], maps[1:, 0, 1], maps[1:, 1, 1] = (0.8, 1.0, 0.0), (0.4, 0.0, 1.0), (0.1, 0.0, 1.0)
    everywhere = slice(0, 2), slice(0, 2)
    assert class_shares(maps, [everywhere], 0.4) == pytest.approx(np.array([[2 / 3, 1 / 3]]))
    assert class_shares(maps, [everywhere], 0.9).tolist() == [[0.0, 0.0]]


@given(x=st.integers(0, 30), y=st.integers(0, 12), seed=st.integers(0, 2**16))
@limits(max_examples=30, deadline=None)
def test_a_tile_shows_its_part_of_the_whole_frames_outlines(x: int, y: int, seed: int) -> None:
    plane = np.random.default_rng(seed).random((8, 16), np.float32)
    frame, tile = np.empty((1, 32, 64), np.uint8), np.empty((1, 20, 34), np.uint8)
    draw_outlines(plane, CELL, [Tile(0, 0, 64, 32)], frame)
    draw_outlines(plane, CELL, [Tile(x, y, 34, 20)], tile)
    assert (tile[0] == frame[0, y : y + 20, x : x + 34]).all()


def test_tiles_that_a_frame_is_seen_in_begin_at_cells(inspecting: InferenceSettings) -> None:
    engines = load_engines(inspecting.model_copy(update={"inspect": "inspect-tiles"}))
    tiles = seen_grid(engines, LineSettings(width_px=228, frame_lines=52), 10)
    assert all(tile.x % CELL == tile.y % CELL == 0 for tile in tiles)
    covered = np.zeros((52, 228), bool)
    for tile in tiles:
        covered[tile.y : tile.y + 32, tile.x : tile.x + 96] = True
    assert covered.all()
    columns = sorted({tile.x for tile in tiles})
    assert all(right - left <= 96 - 10 for left, right in pairwise(columns))
    with pytest.raises(ConfigError, match="multiples of 4"):
        seen_grid(engines, LineSettings(width_px=230, frame_lines=52), 10)
    with pytest.raises(ConfigError, match="does not fit a frame"):
        seen_grid(engines, LineSettings(width_px=90, frame_lines=52), 10)


def test_a_chain_has_its_own_engines_and_no_others(
    engines_dir: Path, engines: EngineSet, inspecting: InferenceSettings
) -> None:
    alone = load_engines(inspecting)
    assert list(alone.by_task()) == [Task.INSPECT]
    assert alone.looks is alone.names_classes is alone.outlines is alone.inspect
    assert tuple(engines.by_task()) == CASCADE
    assert (engines.looks, engines.names_classes, engines.outlines) == (
        engines.screen,
        engines.classify,
        engines.segment,
    )
    with pytest.raises(ValueError, match="are no chain"):
        EngineSet(screen=engines.screen, inspect=alone.inspect)
    with pytest.raises(EngineError, match=r"its task is screen, inference\.inspect expects one with task inspect"):
        load_engines(inspecting.model_copy(update={"inspect": "screen"}))


def test_its_int8_sibling_serves(tmp_path: Path) -> None:
    model = nets.inspect(64, 208)
    source = nets.write(tmp_path, Task.INSPECT, model, 64, 208)
    how = Quantisation(
        source="inspect",
        source_sha256=source.model.sha256,
        activations="uint8",
        left_fp32=(),
        calibration="none",
        acceptance=(),
    )
    nets.write(
        tmp_path,
        Task.INSPECT,
        nets.inspect(64, 208, seed=8),
        64,
        208,
        name="inspect-uint8",
        precision="int8",
        quantisation=how,
    )
    settings = InferenceSettings(engines_dir=tmp_path, chain="inspect")
    assert load_engines(settings, ("uint8",)).looks.manifest.name == "inspect-uint8"
    assert load_engines(settings).looks.manifest.name == "inspect"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = tmp_path_factory.mktemp("other")
    nets.write(folder, Task.INSPECT, nets.inspect(64, 208, seed=14), 64, 208, name="inspect-b")
    return _at(find_engine(folder, "inspect-b"), CALLED)


@pytest.mark.slow
def test_a_shadow_changes_no_prediction_and_is_compared_on_every_tile(
    chain: EngineSet, inspecting: InferenceSettings, line: LineSettings, pool: EnginePool, tmp_path: Path
) -> None:
    spec = chain.looks.manifest.input
    nets.write(tmp_path, Task.INSPECT, nets.inspect(spec.lines, spec.width, seed=14), spec.lines, spec.width)
    beside = _at(find_engine(tmp_path, "inspect"), CALLED)
    alone = _drive(Cascade(chain, inspecting, line), pool, 12, random.Random(1))
    for engine in (beside, chain.looks):
        cascade = Cascade(chain, inspecting, line)
        shadow = Shadow(engine, chain.looks, None, AskedAtOnce(engine))
        cascade.use(cascade.lineup.with_shadow(shadow))
        tried = _drive(cascade, pool, 12, random.Random(2))
        for one, two in zip(alone, tried, strict=True):
            assert [a.tobytes() for a in _arrays(one)] == [b.tobytes() for b in _arrays(two)]
            assert one.engines == two.engines
        found = shadow.agreement
        assert found.failed == 0
        assert found.tiles == sum(len(p.tiles) for p in alone)
        assert (found.agreed == found.tiles) == (engine is chain.looks)


def test_two_inspect_engines_agree_on_a_tile_with_equal_outline_and_class(whole: EngineSet) -> None:
    shadow = Shadow(whole.looks, whole.looks, None, AskedAtOnce(whole.looks))
    ours = np.zeros((PLANES, 1, 12), np.float32)
    ours[1, 0, [0, 1, 4, 5, 8]], ours[2] = 0.9, 1.0
    theirs = ours.copy()
    theirs[2:4, 0, 4:6] = [[0.0], [1.0]]  # another class
    theirs[1, 0, 8:] = 0.9, 0.9, 0.9, 0.5  # an outline thrice as large
    shadow.compare_maps(ours, theirs, [(slice(0, 1), slice(at, at + 4)) for at in (0, 4, 8)])
    found = shadow.agreement
    assert (found.tiles, found.agreed, found.running_only, found.shadow_only) == (3, 1, 0, 0)


def test_frames_under_way_end_with_the_engine_that_they_began_with(
    whole: EngineSet, inspecting: InferenceSettings, line: LineSettings, answering: EnginePool, other: Engine
) -> None:
    answering.load(other, 1, open_backend("onnxruntime"))
    cascade = Cascade(whole, inspecting, line)
    before = cascade.feed(_frame(0), EDGES[0], 0)
    cascade.lineup.admit(other)
    cascade.use(cascade.lineup.with_promoted(other, 1))
    after = cascade.feed(_frame(1), EDGES[0], 0)
    _finish(cascade, answering, [*after, *before])
    first, second = cascade.take_ready()
    assert first.engines == (answering.identity(Task.INSPECT, 0),)
    assert second.engines == (answering.identity(Task.INSPECT, 1),)
    assert (first.lineup, second.lineup) == (0, 1)
    assert cascade.oldest_lineup == 1


def _with(engine: Engine, **changes: object) -> Engine:
    return replace(engine, manifest=engine.manifest.model_copy(update=changes))


def test_an_engine_that_cannot_take_the_place_is_refused(
    whole: EngineSet, engines: EngineSet, inspecting: InferenceSettings
) -> None:
    lineup = Lineup.first(whole, inspecting)
    with pytest.raises(EngineError, match=r"screen engine screen has no place among the running engines \(inspect\)"):
        lineup.admit(engines.looks)
    with pytest.raises(EngineError, match="has no place among the running engines"):
        Lineup.first(engines, inspecting).admit(whole.looks)
    with pytest.raises(EngineError, match="cells of 8 px"):
        lineup.admit(_with(whole.looks, cell_px=8))
    with pytest.raises(EngineError, match="other classes"):
        lineup.admit(_with(whole.looks, classes=tuple(reversed(nets.CLASSES))))
    lineup.admit(whole.looks)


def test_answers_that_are_no_maps_are_told(whole: EngineSet) -> None:
    manifest: EngineManifest = whole.looks.manifest
    check = AnswerCheck(manifest)
    maps = np.full((1, PLANES, LINES // CELL, WIDTH // CELL), 1 / len(nets.CLASSES), np.float32)
    assert check.fault(maps, 1) is None
    spoiled = maps.copy()
    spoiled[0, 3] = 0.9
    assert "shares of the classes that sum to 1 +- 0.70" in str(check.fault(spoiled, 1))
    for plane in (0, 1, PLANES - 1):
        spoiled = maps.copy()
        spoiled[0, plane, 0, 0] = np.nan
        assert "not finite" in str(check.fault(spoiled, 1))
        spoiled[0, plane, 0, 0] = 7.0
        assert "expected probabilities from 0 to 1" in str(check.fault(spoiled, 1))
    assert "expected float32" in str(check.fault(maps[:, :-1], 1))


def test_its_reference_tiles_tell_classes_in_another_order(tmp_path: Path) -> None:
    nets.write(tmp_path, Task.INSPECT, nets.inspect(64, 208), 64, 208)
    write_reference_tiles(tmp_path / "inspect")
    engine = find_engine(tmp_path, "inspect")
    assert engine.reference is not None
    assert engine.reference.classes == nets.CLASSES
    first, second, *others = nets.CLASSES
    turned = _with(engine, classes=(second, first, *others))
    backend = open_backend("onnxruntime")
    with EnginePool(EngineSet(inspect=engine), backend, (1,), workers=1) as pool:
        with pytest.raises(EngineError, match="answers differ"):
            pool.load(turned, 1, backend)
        pool.load(engine, 1, backend)
