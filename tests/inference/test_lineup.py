"""Engines change between two frames without losing one; a shadow is compared and decides nothing."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nets
import numpy as np
import pytest
from asked_at_once import AskedAtOnce
from test_cascade import LADDER, _arrays, _drive, _finish, _frame

from linewatch.config.line import LineSettings
from linewatch.contracts.errors import EngineError
from linewatch.contracts.frame import StripEdges
from linewatch.contracts.manifest import CASCADE, Task
from linewatch.contracts.ports import Backend
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.cascade import Cascade
from linewatch.inference.disagreement import KEPT
from linewatch.inference.engines import Engine, EngineSet, find_engine
from linewatch.inference.lineup import Lineup
from linewatch.inference.pool import EnginePool
from linewatch.inference.settings import InferenceSettings
from linewatch.inference.shadow import Agreement, Shadow
from linewatch.inference.workload import Workload

WHOLE = StripEdges(0, 208, False, False)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[Task, Engine]:
    """Return another engine for each task, with other weights."""
    folder = tmp_path_factory.mktemp("others")
    nets.write(folder, Task.SCREEN, nets.screen(64, 208, seed=11), 64, 208, name="screen-b")
    nets.write(folder, Task.CLASSIFY, nets.classify(64, 64, seed=12), 64, 64, name="classify-b")
    nets.write(folder, Task.SEGMENT, nets.segment(64, 64, seed=13), 64, 64, name="segment-b")
    return {task: find_engine(folder, f"{task}-b") for task in CASCADE}


@pytest.fixture
def open_settings(settings: InferenceSettings) -> InferenceSettings:
    """Use settings with which every tile passes and is segmented."""
    return settings.model_copy(update={"screen_threshold": 0.0, "claim_share": 0.0, "ladder": LADDER})


@pytest.fixture
def pool(engines: EngineSet, backend: Backend, others: dict[Task, Engine]) -> Iterator[EnginePool]:
    with EnginePool(engines, backend, LADDER, workers=1) as opened:
        for engine in others.values():
            opened.load(engine, 1, backend)
        yield opened


@pytest.fixture
def cascade(engines: EngineSet, open_settings: InferenceSettings, line: LineSettings) -> Cascade:
    return Cascade(engines, open_settings, line)


@pytest.mark.slow
@pytest.mark.parametrize("task", list(CASCADE))
def test_a_shadow_changes_no_prediction_and_is_compared_on_every_tile(
    task: Task,
    engines: EngineSet,
    others: dict[Task, Engine],
    open_settings: InferenceSettings,
    line: LineSettings,
    pool: EnginePool,
) -> None:
    settings = open_settings.model_copy(update={"screen_threshold": 0.6}) if task is Task.SCREEN else open_settings
    alone = _drive(Cascade(engines, settings, line), pool, 12, random.Random(1))
    cascade = Cascade(engines, settings, line)
    asked = AskedAtOnce(others[task])
    shadow = Shadow(others[task], engines.by_task()[task], settings.screen_threshold, asked)
    cascade.use(cascade.lineup.with_shadow(shadow))
    beside = _drive(cascade, pool, 12, random.Random(2))
    for one, other in zip(alone, beside, strict=True):
        assert [a.tobytes() for a in _arrays(one)] == [b.tobytes() for b in _arrays(other)]
        assert one.engines == other.engines
    found = shadow.agreement
    assert found.tiles == sum(len(p.tiles) if task is Task.SCREEN else p.passed.sum() for p in alone)
    assert found.agreed + found.running_only + found.shadow_only <= found.tiles
    assert found.agreed < found.tiles
    assert found.failed == 0
    for one in shadow.disagreements:
        left, top = one.box.across_mm[0] / line.mm_per_px, one.box.along_mm[0] / line.mm_per_line
        assert 0 <= left < 208
        assert top >= 0
        ours, theirs = one.running, one.shadow
        assert one.pixels.shape == (64, 64)
        if task is Task.SEGMENT:
            assert ours.mask.shape == theirs.mask.shape == (64, 64)
            assert (ours.mask != theirs.mask).any()
        else:
            assert (ours.called, ours.scores) != (theirs.called, theirs.scores)
    assert 0 < len(shadow.disagreements) <= KEPT
    assert [one.number for one in shadow.disagreements] == sorted(one.number for one in shadow.disagreements)


@pytest.mark.slow
@pytest.mark.parametrize("task", list(CASCADE))
def test_an_engine_agrees_with_itself(
    task: Task, engines: EngineSet, open_settings: InferenceSettings, line: LineSettings, backend: Backend
) -> None:
    own = engines.by_task()[task]
    with EnginePool(engines, backend, LADDER, workers=1) as pool:
        cascade = Cascade(engines, open_settings, line)
        shadow = Shadow(own, own, None, AskedAtOnce(own, backend))
        cascade.use(cascade.lineup.with_shadow(shadow))
        _drive(cascade, pool, 12, random.Random(3))
    assert shadow.agreement.tiles > 10
    assert shadow.agreement.agreed == shadow.agreement.tiles


def test_a_failing_shadow_costs_nothing(
    cascade: Cascade, engines: EngineSet, others: dict[Task, Engine], pool: EnginePool
) -> None:
    beside = others[Task.CLASSIFY]
    shadow = Shadow(beside, engines.classify, None, AskedAtOnce(beside, error="the device is gone"))
    cascade.use(cascade.lineup.with_shadow(shadow))
    running = list(cascade.feed(_frame(0), WHOLE, 0))
    while running:
        running += cascade.done(pool.run(0, running.pop(0)), 1) + cascade.flush()
    (prediction,) = cascade.take_ready()
    assert prediction.degraded is None
    assert len(prediction.engines) == 3
    assert (shadow.agreement.tiles, shadow.agreement.failed, shadow.agreement.fault) == (0, 4, "the device is gone")


@pytest.mark.parametrize("busy", ["the workers", "the engine on trial"])
def test_a_shadow_stands_back_while_there_is_much_to_do(
    busy: str,
    engines: EngineSet,
    others: dict[Task, Engine],
    open_settings: InferenceSettings,
    line: LineSettings,
    pool: EnginePool,
) -> None:
    workload = Workload(workers=1, deadline_ms=100.0)
    workload.begin(Task.SCREEN, 1)
    workload.end(Task.SCREEN, 1, 50_000_000, 0)
    asked = AskedAtOnce(others[Task.SCREEN])
    if busy == "the workers":
        workload.begin(Task.SCREEN, 1)  # half of the deadline waits
    else:
        asked.free = False
    cascade = Cascade(engines, open_settings, line, workload)
    cascade.use(cascade.lineup.with_shadow(Shadow(others[Task.SCREEN], engines.screen, None, asked)))
    running = list(cascade.feed(replace(_frame(0), captured_ns=0), WHOLE, 0))
    assert [batch.generation for batch in running] == [0]
    cascade.done(pool.run(0, running[0]), 1)
    assert asked.asked == 0


def test_an_engine_that_calls_other_tiles_speaks_against_itself() -> None:
    called = np.arange(40) < 20
    for other, against in ((called, False), (~called, True), (np.zeros(40, bool), True), (np.arange(40) < 12, False)):
        agreement = Agreement()
        agreement.add(called, other, np.ones(40, bool))
        assert (agreement.speaks_against("new") is not None) == against
    agreement = Agreement()
    agreement.add(called[:25], ~called[:25], np.ones(25, bool))
    assert "agrees with the running one on 0 of 25 tiles that either calls" in agreement.speaks_against("new")
    few = Agreement()
    few.add(called[:19], ~called[:19], np.ones(19, bool))
    assert few.speaks_against("new") is None, "too few to tell"


def test_frames_on_their_way_end_with_the_engines_that_they_began_with(
    cascade: Cascade, others: dict[Task, Engine], pool: EnginePool
) -> None:
    before = cascade.feed(_frame(0), WHOLE, 0)
    for task in CASCADE:
        cascade.use(cascade.lineup.with_promoted(others[task], 1))
    assert (cascade.lineup.serial, cascade.oldest_lineup) == (3, 0)
    after = cascade.feed(_frame(1), WHOLE, 0)
    _finish(cascade, pool, after)
    assert cascade.take_ready() == []
    _finish(cascade, pool, before)
    first, second = cascade.take_ready()
    assert first.engines == tuple(pool.identity(task, 0) for task in CASCADE)
    assert second.engines == tuple(pool.identity(task, 1) for task in CASCADE)
    assert (first.lineup, second.lineup) == (0, 3)
    assert cascade.oldest_lineup == 3
    for task in CASCADE:
        pool.drop(task, 0)
    _finish(cascade, pool, cascade.feed(_frame(2), WHOLE, 0))
    assert len(cascade.take_ready()) == 1


@pytest.mark.slow
def test_after_a_promotion_the_predictions_are_those_of_a_service_that_began_so(
    cascade: Cascade,
    others: dict[Task, Engine],
    open_settings: InferenceSettings,
    line: LineSettings,
    pool: EnginePool,
    backend: Backend,
) -> None:
    for task in CASCADE:
        cascade.use(cascade.lineup.with_promoted(others[task], 1))
    swapped = _drive(cascade, pool, 8, random.Random(5))
    fresh_engines = EngineSet(others[Task.SCREEN], others[Task.CLASSIFY], others[Task.SEGMENT])
    with EnginePool(fresh_engines, backend, LADDER, workers=1) as fresh:
        began = _drive(Cascade(fresh_engines, open_settings, line), fresh, 8, random.Random(6))
    for one, other in zip(swapped, began, strict=True):
        assert [a.tobytes() for a in _arrays(one)] == [b.tobytes() for b in _arrays(other)]


def test_an_engine_that_cannot_take_the_place_is_refused(
    engines: EngineSet, settings: InferenceSettings, tmp_path: Path
) -> None:
    lineup = Lineup.first(engines, settings)
    nets.write(tmp_path, Task.SEGMENT, nets.segment(32, 32), 32, 32, name="small")
    with pytest.raises(EngineError, match="takes 32 x 32 px"):
        lineup.admit(find_engine(tmp_path, "small"))
    classes = tuple(reversed(nets.CLASSES))
    turned = replace(engines.classify, manifest=engines.classify.manifest.model_copy(update={"classes": classes}))
    with pytest.raises(EngineError, match="other classes"):
        lineup.admit(turned)
    lineup.admit(engines.classify)


def test_an_engine_that_cannot_be_opened_leaves_all_as_it_was(engines: EngineSet) -> None:
    with EnginePool(engines, open_backend("onnxruntime"), (1,), workers=1) as pool:
        broken = replace(engines.screen, model=b"no model")
        with pytest.raises(EngineError):
            pool.load(broken, 1, open_backend("onnxruntime"))
        with pytest.raises(KeyError):
            pool.identity(Task.SCREEN, 1)
        assert pool.identity(Task.SCREEN)
