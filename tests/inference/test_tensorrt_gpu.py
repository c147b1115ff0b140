"""TensorRT on a GPU: promises beyond those of every backend (test_backends.py)."""

import hashlib
from pathlib import Path

import nets
import numpy as np
import pytest

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import Task
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.backends.tensorrt.backend import TensorRtBackend
from linewatch.inference.backends.tensorrt.executor import TensorRtExecutor
from linewatch.inference.backends.tensorrt.gpu import CudaStream, find_gpu
from linewatch.inference.engines import find_engine

pytestmark = pytest.mark.gpu

ENGINES = Path(__file__).parents[2] / "engines"
SHIPPED = sorted(path.parent.name for path in ENGINES.glob("*/manifest.json"))
TOLERANCE = {  # of probabilities in 0..1, and of the segmenter's levels in 0..255
    ("fp32", "float32"): 1e-4,
    ("fp16", "float32"): 2e-2,
    ("fp32", "uint8"): 1,
    ("fp16", "uint8"): 8,
}


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TensorRtBackend:
    return TensorRtBackend(tmp_path_factory.mktemp("plans"), request.param)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_engines_agree_with_onnx_runtime(name: str, backend: TensorRtBackend) -> None:
    engine = find_engine(ENGINES, name)
    spec = engine.manifest.input
    pixels = np.random.default_rng(4).integers(0, 256, (3, 1, spec.lines, spec.width), dtype=np.uint8)
    pixels[2] = pixels[2] // 16 + 110  # as even as clean steel
    outputs = []
    for runtime in (open_backend("onnxruntime"), backend):
        (executor,) = runtime.open(engine.manifest, engine.model, (1, 2, 4), 1)
        outputs.append(executor.run(np.concatenate([pixels, pixels[:1]]), 3))
        executor.close()
    expected, found = outputs
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    precision = backend.identity(engine.manifest).split("/")[2]
    atol = TOLERANCE[precision, str(expected.dtype)]
    np.testing.assert_allclose(found.astype(np.float32), expected.astype(np.float32), atol=atol, rtol=0)


def test_a_cuda_graph_gives_the_bytes_of_single_launches(tmp_path: Path) -> None:
    model = nets.segment(64, 64)
    manifest = nets.manifest(Task.SEGMENT, model, 64, 64)
    pixels = np.random.default_rng(4).integers(0, 256, (4, 1, 64, 64), dtype=np.uint8)
    outputs = []
    for graphs in (True, False):
        (executor,) = TensorRtBackend(tmp_path, graphs=graphs).open(manifest, model, (1, 4), 1)
        assert isinstance(executor, TensorRtExecutor)
        assert executor.has_graph is graphs
        outputs.append([executor.run(pixels, 4).tobytes() for _ in range(3)])
        executor.close()
    assert outputs[0] == outputs[1] == [outputs[0][0]] * 3


def test_padding_and_earlier_batches_leave_a_row_alone(tmp_path: Path) -> None:
    model = nets.classify(64, 64)
    manifest = nets.manifest(Task.CLASSIFY, model, 64, 64)
    (executor,) = TensorRtBackend(tmp_path).open(manifest, model, (1, 8), 1)
    pixels = np.random.default_rng(4).integers(0, 256, (8, 1, 64, 64), dtype=np.uint8)
    fresh = executor.run(pixels, 1)
    executor.run(255 - pixels, 8)
    assert executor.run(pixels, 1).tobytes() == fresh.tobytes()
    executor.close()
    with pytest.raises(EngineError, match="its executor is closed"):
        executor.run(pixels, 1)


def test_an_unloadable_plan_is_built_again(tmp_path: Path) -> None:
    """A plan with a correct checksum that TensorRT does not accept, as from another build of the library."""
    model = nets.screen(64, 208)
    manifest = nets.manifest(Task.SCREEN, model, 64, 208)
    backend = TensorRtBackend(tmp_path)
    assert not backend.ready(manifest, (1,))
    plan = backend.prepare(manifest, model, (1,))
    assert backend.ready(manifest, (1,))
    record = plan.record.model_dump_json()
    plan.path.write_bytes(b"no plan " * 100)
    digest = hashlib.sha256(plan.path.read_bytes()).hexdigest()
    plan.path.with_suffix(".json").write_text(record.replace(plan.record.plan_sha256, digest))
    assert backend.ready(manifest, (1,))
    (executor,) = backend.open(manifest, model, (1,), 1)
    assert np.isfinite(executor.run(np.zeros((1, 1, 64, 208), np.uint8), 1)).all()
    executor.close()


def test_the_identity_names_gpu_and_plan(tmp_path: Path) -> None:
    model = nets.screen(64, 208)
    manifest = nets.manifest(Task.SCREEN, model, 64, 208)
    backend = TensorRtBackend(tmp_path)
    before = backend.identity(manifest)
    (executor,) = backend.open(manifest, model, (1,), 1)
    executor.close()
    plan = backend.prepare(manifest, model, (1,))
    assert before.endswith(".plan-none")
    assert backend.identity(manifest) == before.replace("plan-none", f"plan-{plan.record.plan_sha256[:12]}")
    assert before.split("/")[3].startswith(find_gpu().slug)


def test_out_of_memory_says_how_much_there_is() -> None:
    stream = CudaStream()
    try:
        with pytest.raises(EngineError, match=r"out of memory: cannot allocate .* MB of .* MB are free .*lower"):
            stream.device_memory(1 << 50)
        assert stream.device_memory(1 << 20)  # and the next request is served
    finally:
        stream.close()
