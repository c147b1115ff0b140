"""In the steady state no buffer of pixels is allocated between the camera and the decision."""

import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from linewatch.capture.admission import Admission
from linewatch.capture.edges import find_edges
from linewatch.capture.ring import FrameRing
from linewatch.contracts.frame import Grab
from linewatch.contracts.prediction import Prediction
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.cascade import Cascade
from linewatch.inference.engines import load_engines
from linewatch.inference.pool import EnginePool
from linewatch.service_settings import ServiceSettings

TILE_BYTES = 256 * 256
SLOTS = 3


@pytest.fixture(params=["onnxruntime", "openvino"])
def step(request: pytest.FixtureRequest, settings: ServiceSettings) -> Iterator[Callable[[int], Prediction]]:
    """One frame from its grab to its prediction, as the stages do it, by its number; every tile goes all the way."""
    inference = settings.inference.model_copy(update={"screen_threshold": 0.0, "claim_share": 0.0})
    backend = open_backend(request.param)
    engines = load_engines(inference, backend.siblings)
    line = settings.line
    ring = FrameRing(SLOTS, line.frame_lines, line.width_px)
    admission = Admission(line, settings.capture, ring)
    pool = EnginePool(engines, backend, inference.ladder, workers=1)
    cascade = Cascade(engines, inference, line)
    rng = np.random.default_rng(3)
    images = [rng.integers(90, 150, (line.frame_lines, line.width_px), dtype=np.uint8) for _ in range(2)]

    def run(number: int) -> Prediction:
        lines = line.frame_lines
        grab = Grab(
            image=images[number % 2],
            coil="C1",
            sequence=number,
            first_line=number * lines,
            lines=lines,
            encoder_count=number * lines,
            along_mm=float(number * lines),
            mm_per_line=1.0,
            captured_ns=number,
        )
        (frame,) = admission.admit(grab)
        assert frame.pixels is not None
        batches = list(cascade.feed(frame, find_edges(frame.pixels, settings.capture), number))
        while batches:
            batches += cascade.done(pool.run(0, batches.pop(0)), number)
        (prediction,) = cascade.take_ready()
        assert frame.slot is not None
        ring.release(frame.slot)
        return prediction

    with pool:
        yield run


@pytest.mark.slow
def test_no_pixel_buffer_is_allocated_per_frame(step: Callable[[int], Prediction]) -> None:
    """Within a frame, Python's and NumPy's memory rises by less than one tile."""
    for number in range(2 * SLOTS):
        assert step(number).passed.all()
    tracemalloc.start()
    try:
        growth = []
        for number in range(2 * SLOTS, 2 * SLOTS + 4):
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            step(number)
            growth.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    assert max(growth) < TILE_BYTES, growth


def test_the_measure_sees_a_tile() -> None:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        np.empty(TILE_BYTES, np.uint8)
        assert tracemalloc.get_traced_memory()[1] - before >= TILE_BYTES
    finally:
        tracemalloc.stop()
