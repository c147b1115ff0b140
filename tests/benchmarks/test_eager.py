"""Torch in the plain loop is the same networks with the same weights: else `make bench` would compare two things."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from benchmarks.load import simulated_frames
from benchmarks.plain import PlainLoop, on_onnxruntime, on_torch
from linewatch.contracts.manifest import CASCADE, Task
from linewatch.inference.engines import load_engines
from linewatch.service_settings import ServiceSettings

FRAMES, DEFECTS_PER_M = 6, 6.0


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Several would wait for each other while other work holds the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def frames(settings: ServiceSettings) -> list[np.ndarray]:
    return simulated_frames(FRAMES, DEFECTS_PER_M, settings.line)[0]


@pytest.mark.slow
@pytest.mark.parametrize("task", CASCADE)
def test_torch_gives_what_onnx_runtime_gives(task: Task, settings: ServiceSettings, frames: list[np.ndarray]) -> None:
    """Probabilities to 1e-4; bytes of the segmenter's to one level, few of them, where a rounding falls the other way.

    The scores are not all alike, so that agreement says something.
    """
    engine = load_engines(settings.inference.model_copy(update={"precision": "fp32"})).by_task()[task]
    spec = engine.manifest.input
    images = [frame[np.newaxis, np.newaxis, :, -spec.width :] for frame in frames]
    theirs, ours = (
        np.concatenate([run(np.ascontiguousarray(image)) for image in images])
        for run in (on_onnxruntime(engine), on_torch(engine))
    )
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    assert theirs.max() > theirs.min()
    if task is Task.SEGMENT:
        off = np.abs(ours.astype(int) - theirs.astype(int))
        assert off.max() <= 1
        assert (off > 0).mean() < 1e-3
    else:
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_loop_finds_the_same_on_torch(settings: ServiceSettings, frames: list[np.ndarray]) -> None:
    """Same gates, same engines: as many boxes of the same classes, to a pixel or two, and some there are."""
    theirs, ours = (
        [box for frame in frames for box in loop.inspect(frame)]
        for loop in (PlainLoop(settings, on_onnxruntime), PlainLoop(settings, on_torch))
    )
    assert theirs
    assert [name for *_, name in ours] == [name for *_, name in theirs]
    np.testing.assert_allclose([box[:4] for box in ours], [box[:4] for box in theirs], rtol=0, atol=2)
