"""Plans that are really built: TensorRT-RTX builds without a GPU. Tests that need one are in test_tensorrt_gpu.py."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import nets
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnxruntime import quantization

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import EngineManifest, Task
from linewatch.inference.backends.tensorrt.ahead import build_ahead
from linewatch.inference.backends.tensorrt.build import build
from linewatch.inference.backends.tensorrt.first_cast import cast_first
from linewatch.inference.backends.tensorrt.gpu import Gpu
from linewatch.inference.backends.tensorrt.half import to_half
from linewatch.inference.backends.tensorrt.library import FLAVOURS, Library, import_library
from linewatch.inference.backends.tensorrt.plans import PlanCache, PlanKey, Precision, rows_per_run
from linewatch.inference.engines import find_engine
from linewatch.inference.settings import InferenceSettings

ROOT = Path(__file__).parents[2]
ENGINES = [find_engine(ROOT / "engines", path.parent.name) for path in (ROOT / "engines").glob("*/manifest.json")]
SHIPPED = sorted(engine.manifest.name for engine in ENGINES if engine.manifest.precision == "fp32")
QUANTISED = {engine.manifest.name: quantisation for engine in ENGINES if (quantisation := engine.manifest.quantisation)}
H200 = Gpu("NVIDIA H200", "9.0", "580.1", 140_000)


@pytest.fixture(scope="module")
def library() -> Library:
    """Return TensorRT-RTX, or the full library where it is installed, which builds only on a GPU."""
    try:
        return import_library()
    except EngineError as missing:
        pytest.skip(str(missing))


@pytest.fixture
def cache(library: Library, tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "plans", library, None)


@pytest.fixture(scope="module")
def small() -> tuple[EngineManifest, bytes]:
    model = nets.segment(64, 64)
    return nets.manifest(Task.SEGMENT, model, 64, 64), model


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_engine_builds_in_the_precision_asked_for(
    library: Library, name: str, precision: Precision
) -> None:
    """Every convolution and product has the precision, and the plan holds the weights in it."""
    engine = find_engine(ROOT / "engines", name)
    built = build(library, engine.manifest, engine.model, precision=precision, rows=4)
    kinds = [node.op_type for node in onnx.load_from_string(engine.model).graph.node]
    before = kinds[: kinds.index("Conv")].count("MatMul")  # averages of the picture: FP32
    expected = Counter({"fp32": before})
    expected[precision] += sum(kind in {"Conv", "Gemm", "MatMul"} for kind in kinds) - before
    assert built.precisions.products == +expected
    assert len(built.plan) > len(engine.model) * (0.9 if precision == "fp32" else 0.45)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(name for name, how in QUANTISED.items() if how.activations == "int8"))
def test_every_shipped_int8_engine_builds_with_int8_convolutions(library: Library, name: str) -> None:
    """All are INT8 except those that the manifest lists as FP32."""
    engine = find_engine(ROOT / "engines", name)
    products = build(library, engine.manifest, engine.model, precision="int8", rows=2).precisions.products
    assert products["int8"] > 3 * products.get("fp32", 0)
    assert products.get("fp32", 0) <= len(QUANTISED[name].left_fp32)


@pytest.mark.parametrize("name", sorted(name for name, how in QUANTISED.items() if how.activations == "uint8"))
def test_an_engine_with_unsigned_activations_is_refused(library: Library, name: str) -> None:
    engine = find_engine(ROOT / "engines", name)
    with pytest.raises(EngineError, match="has unsigned activations, which only CPUs run"):
        build(library, engine.manifest, engine.model, precision="int8", rows=1)


class Levels(quantization.CalibrationDataReader):
    """Return a few random tiles to calibrate a Q/DQ model."""

    def __init__(self) -> None:
        tiles = np.random.default_rng(0).integers(0, 256, (4, 1, 1, 64, 64), dtype=np.uint8)
        self._tiles = iter({"image": tile} for tile in tiles)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._tiles, None)


@pytest.mark.slow
def test_an_int8_engine_with_symmetric_qdq_builds_and_its_convolutions_are_int8(
    library: Library, small: tuple[EngineManifest, bytes], tmp_path: Path
) -> None:
    source, out = tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    source.write_bytes(small[1])
    quantization.quantize_static(
        source,
        out,
        Levels(),
        op_types_to_quantize=["Conv"],
        per_channel=True,
        activation_type=quantization.QuantType.QInt8,
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
    )
    model = out.read_bytes()
    manifest = nets.manifest(Task.SEGMENT, model, 64, 64, precision="int8")
    built = build(library, manifest, model, precision="int8", rows=2)
    assert set(built.precisions.products) == {"int8"}
    assert build(library, *small, precision="fp32", rows=2).precisions.products == {
        "fp32": built.precisions.products["int8"]
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_pixels_go_into_a_cast_and_the_answers_stay_the_same(name: str) -> None:
    """TensorRT takes bytes into nothing else."""
    engine = find_engine(ROOT / "engines", name)
    moved = cast_first(engine.model)
    graph = onnx.load_from_string(moved).graph
    assert {node.op_type for node in graph.node if "image" in node.input} == {"Cast"}
    spec = engine.manifest.input
    pixels = np.random.default_rng(1).integers(0, 256, (1, 1, spec.lines, spec.width), dtype=np.uint8)
    before, after = (
        ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"image": pixels})[0]
        for model in (engine.model, moved)
    )
    np.testing.assert_array_equal(after, before)


def test_a_model_that_cannot_be_read_is_left_to_the_parser() -> None:
    assert cast_first(b"no model") == b"no model"


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_fp16_scores_are_those_of_fp32_to_within_its_rounding(name: str) -> None:
    """ONNX Runtime computes both models: the one that TensorRT gets is correct, whatever runs it."""
    engine = find_engine(ROOT / "engines", name)
    spec = engine.manifest.input
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (2, 1, spec.lines, spec.width), dtype=np.uint8)
    flat = np.clip(rng.normal(120, 2, noise.shape), 0, 255).astype(np.uint8)  # local normalisation's hard case
    half = to_half(engine.manifest, engine.model)
    onnx.checker.check_model(onnx.load_from_string(half), full_check=True)
    for pixels in (noise, flat):
        single, rounded = (
            ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"image": pixels})[0]
            for model in (engine.model, half)
        )
        assert rounded.dtype == single.dtype
        tolerance = 2 if single.dtype == np.uint8 else 0.01
        if engine.manifest.task is Task.INSPECT:
            tolerance = 0.05  # shares of classes in cells without a defect; normalised in FP16 they are 0.4 off
        np.testing.assert_allclose(rounded.astype(np.float32), single.astype(np.float32), atol=tolerance, rtol=0)


def test_a_weight_beyond_fp16_is_refused(small: tuple[EngineManifest, bytes]) -> None:
    model = onnx.load_from_string(small[1])
    wide = next(weight for weight in model.graph.initializer if len(weight.dims) == 4)
    wide.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(wide) + np.float32(1e5), wide.name))
    with pytest.raises(EngineError, match=r"weight w\d+ reaches 1e\+05, FP16 holds 65504 at most; build fp32"):
        to_half(small[0], model.SerializeToString())


def _unknown_operator(model: bytes) -> bytes:
    broken = onnx.load_from_string(model)
    broken.graph.node[4].op_type = "Levitate"
    return bytes(broken.SerializeToString())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_unknown_operator, r"cannot parse model.onnx \(node 4 .*\(Levitate\): .*expected .*choose another"),
        (lambda model: model[: len(model) // 2], r"cannot parse model.onnx .*Failed to parse"),
        (lambda model: b"hello", r"model.onnx has input nothing, its manifest promises image uint8"),
        (lambda model: nets.segment(32, 64), r"has input image uint8 \(n, 1, 32, 64\), its manifest promises"),
    ],
    ids=["unknown operator", "half a file", "no model", "another size"],
)
def test_a_broken_model_is_refused_with_its_reason(
    library: Library, small: tuple[EngineManifest, bytes], spoil: object, said: str
) -> None:
    manifest, model = small
    with pytest.raises(EngineError, match=said):
        build(library, manifest, spoil(model), precision="fp32", rows=1)  # type: ignore[operator]


def test_another_thread_runs_while_a_plan_builds_and_can_end_it(
    library: Library, small: tuple[EngineManifest, bytes]
) -> None:
    """A service continues while a plan is built, and can stop the build."""
    stop, ended = threading.Event(), []

    class Stopping:
        def phase_started(self, phase: str, parent: str | None, steps: int) -> None:
            stop.set()

        def step_done(self, phase: str, step: int) -> None: ...

        def phase_ended(self, phase: str) -> None: ...

    def work() -> None:
        try:
            build(library, *small, precision="fp32", rows=1, watch=Stopping(), stop=stop)
        except EngineError as error:
            ended.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    assert stop.wait(30)
    thread.join(30)
    assert len(ended) == 1
    assert "was not finished" in ended[0]


def test_a_plan_is_built_once(cache: PlanCache, small: tuple[EngineManifest, bytes]) -> None:
    key = cache.key(small[0], "fp32", 2)
    assert cache.find(key) is None
    made = cache.make(key, *small)
    found = cache.find(key)
    assert found is not None
    assert (made.was_ready, found.was_ready) == (False, True)
    assert (found.data, found.record) == (made.data, made.record)
    assert sorted(path.suffix for path in cache.folder.iterdir()) == [".json", ".plan"]  # nothing half-written is left


def test_whatever_a_plan_depends_on_makes_another(library: Library, tmp_path: Path) -> None:
    cache = PlanCache(tmp_path, library, H200)
    manifest = nets.manifest(Task.CLASSIFY, b"model", 64, 64)
    key = cache.key(manifest, "fp32", 8)
    others = {
        "model_sha256": hashlib.sha256(b"another").hexdigest(),
        "precision": "fp16",
        "rows": 4,
        "recipe": key.recipe + 1,
        "gpu": "NVIDIA L4",
        "compute_capability": "8.9",
        "driver": "590.2",
        "library": "tensorrt-next",
        "library_version": "99.0",
        "engine": "another",
    }
    assert set(others) == set(PlanKey.model_fields)
    keys = [key, *(key.model_copy(update={name: value}) for name, value in others.items())]
    assert len({cache.path(k) for k in keys}) == len(keys)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["plan cut", "plan changed", "record gone", "record cut", "record of another"])
def test_a_damaged_plan_is_built_again(
    cache: PlanCache, small: tuple[EngineManifest, bytes], damage: str, tmp_path: Path
) -> None:
    key = cache.key(small[0], "fp32", 1)
    made = cache.make(key, *small)
    record = made.path.with_suffix(".json")
    match damage:
        case "plan cut":
            made.path.write_bytes(made.data[: len(made.data) // 2])
        case "plan changed":
            made.path.write_bytes(made.data[:-1] + bytes([made.data[-1] ^ 1]))
        case "record gone":
            record.unlink()
        case "record cut":
            record.write_text(record.read_text()[:40])
        case "record of another":
            told = json.loads(record.read_text())
            told["key"]["driver"] = "1.0"
            record.write_text(json.dumps(told))
    assert cache.find(key) is None
    cache.make(key, *small)
    assert cache.find(key) is not None


@pytest.mark.slow
def test_readers_see_a_whole_plan_or_none_while_another_thread_writes(
    cache: PlanCache, small: tuple[EngineManifest, bytes]
) -> None:
    key = cache.key(small[0], "fp32", 1)
    whole = cache.make(key, *small).data
    done, torn = threading.Event(), []

    def read() -> None:
        while not done.is_set():
            if (plan := cache.find(key)) is not None and plan.data != whole:
                torn.append(len(plan.data))

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(3):
        cache.make(key, *small)  # RTX makes the same bytes each time
    done.set()
    thread.join()
    assert not torn


def test_a_folder_that_cannot_be_written_is_named(library: Library, small: tuple[EngineManifest, bytes]) -> None:
    cache = PlanCache(Path("/proc/plans"), library, None)
    with pytest.raises(EngineError, match=r"/proc/plans/.* cannot be written .*set inference.plan_dir"):
        cache.make(cache.key(small[0], "fp32", 1), *small)


def test_a_screen_runs_frames_alone_and_tiles_run_by_the_largest_rung() -> None:
    assert [rows_per_run(task, 8) for task in Task] == [1, 8, 8, 1]


def test_an_engine_is_not_built_in_a_precision_that_it_does_not_hold(library: Library, tmp_path: Path) -> None:
    settings = InferenceSettings(engines_dir=ROOT / "engines", plan_dir=tmp_path)
    with pytest.raises(EngineError, match=r"engine screen: its model is fp32, int8 cannot be made from it .*quantise"):
        build_ahead("screen", settings, "int8")


@pytest.mark.slow
def test_the_build_command_makes_the_plan_that_a_service_finds(library: Library, tmp_path: Path) -> None:
    """The command prints path, size and precisions, and builds nothing the second time."""
    command = ["build", "classify", "--precision", "fp16", "--plans", str(tmp_path), "--json"]
    facts = [json.loads(_fresh("-m", "linewatch.cli", *command).stdout) for _ in range(2)]
    assert [fact["was_ready"] for fact in facts] == [False, True]
    assert facts[0]["bytes"] == Path(facts[0]["path"]).stat().st_size
    assert facts[0]["precisions"]["products"] == {"fp16": 53}
    table = _fresh("-m", "linewatch.cli", *command[:-1]).stdout
    assert "53 fp16" in table
    assert "before; it is up to date" in table


@pytest.mark.slow
def test_a_missing_library_is_explained() -> None:
    hide = "; ".join(f"sys.modules[{module!r}] = None" for module in FLAVOURS)
    ended = _fresh("-c", f"import sys; {hide}\n{OPEN}")
    assert "neither of the packages tensorrt and tensorrt_rtx is installed" in ended.stdout
    assert 'install linewatch[gpu], or set inference.backend = "onnxruntime"' in ended.stdout


@pytest.mark.slow
def test_a_missing_gpu_is_explained(library: Library) -> None:
    ended = _fresh("-c", OPEN, CUDA_VISIBLE_DEVICES="")
    assert "backend tensorrt: found no NVIDIA GPU (cudaError" in ended.stdout
    assert "expected one with a driver for CUDA" in ended.stdout
    assert 'or set inference.backend = "onnxruntime"' in ended.stdout


OPEN = """
from linewatch.contracts.errors import EngineError
from linewatch.inference.backends.registry import open_backend
try:
    open_backend("tensorrt")
except EngineError as error:
    print(error)
"""


def _fresh(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a new interpreter, whose imports and view of the machine a test controls."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )
