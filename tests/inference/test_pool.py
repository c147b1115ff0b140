"""The pool: real engines on real threads; a failure affects only its batch."""

import shutil
import threading
from pathlib import Path

import nets
import numpy as np
import pytest

from linewatch.contracts.manifest import Task
from linewatch.contracts.ports import Backend
from linewatch.contracts.tile import Batch, Tile, TileRef
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.engines import EngineSet, load_engines
from linewatch.inference.pool import EnginePool
from linewatch.inference.settings import InferenceSettings


def _batch(pixels: np.ndarray, fill: int = 1, task: Task = Task.SCREEN) -> Batch:
    return Batch(task, tuple(TileRef(0, i, Tile(0, 0, 208, 64)) for i in range(fill)), pixels)


def _frame(level: int) -> np.ndarray:
    return np.full((1, 1, 64, 208), level, np.uint8)


def test_only_the_filled_rows_come_back(engines: EngineSet, backend: Backend) -> None:
    with EnginePool(engines, backend, (1, 2, 4), workers=1) as pool:
        pixels = np.random.default_rng(0).integers(0, 256, (4, 1, 64, 64), dtype=np.uint8)
        result = pool.run(0, _batch(pixels, 3, Task.CLASSIFY))
        assert result.error is None
        assert result.output is not None
        assert result.output.shape == (3, len(nets.CLASSES))
        assert result.identity == pool.identity(Task.CLASSIFY)
        assert result.identity.startswith("classify@")


@pytest.fixture(scope="module")
def fragile(engines_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> EngineSet:
    """Return engines whose screen fails on bright pixels."""
    folder = Path(shutil.copytree(engines_dir, tmp_path_factory.mktemp("fragile") / "engines"))
    nets.write(folder, Task.SCREEN, nets.fragile_screen(64, 208), 64, 208, name="fragile")
    return load_engines(InferenceSettings(engines_dir=folder, chain="cascade", screen="fragile"))


def test_an_engine_that_fails_is_a_result_and_the_next_batch_is_served(fragile: EngineSet) -> None:
    with EnginePool(fragile, open_backend("onnxruntime"), (1,), workers=1) as pool:
        failed = pool.run(0, _batch(_frame(255)))
        assert failed.output is None
        assert "engine fragile: ONNX Runtime failed" in (failed.error or "")
        assert pool.run(0, _batch(_frame(100))).error is None


def test_a_score_that_is_not_a_number_is_a_failure(fragile: EngineSet, backend: Backend) -> None:
    with EnginePool(fragile, backend, (1,), workers=1) as pool:
        assert "not finite" in (pool.run(0, _batch(_frame(225))).error or "")
        assert pool.run(0, _batch(_frame(100))).error is None


@pytest.mark.slow
def test_workers_run_at_the_same_time_and_close_waits_for_them(engines: EngineSet, backend: Backend) -> None:
    """Every batch that began before `close` has its result; every later one reports that the pool is closed."""
    pool = EnginePool(engines, backend, (1, 8), workers=3)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 1, 64, 64), dtype=np.uint8)
    started, errors = threading.Barrier(4), [[""], [""], [""]]

    def work(worker: int) -> None:
        started.wait()
        while True:
            result = pool.run(worker, _batch(pixels, 8, Task.SEGMENT))
            assert (result.output is None) == (result.error is not None)
            if result.error is not None:
                errors[worker][0] = result.error
                return

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(3)]
    for thread in threads:
        thread.start()
    started.wait()
    pool.close()
    for thread in threads:
        thread.join(timeout=30)
    assert errors == [["the engine pool is closed"]] * 3


def test_close_leaves_a_hanging_worker_behind(engines: EngineSet) -> None:
    pool = EnginePool(engines, open_backend("onnxruntime"), (1,), workers=2)
    with pool._busy[1]:  # as a worker that hangs inside its engine holds it
        pool.close(timeout_s=0.01)
    assert pool.run(0, _batch(_frame(1))).error == "the engine pool is closed"
