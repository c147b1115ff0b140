"""The promises that every backend keeps, on synthetic engines and on the shipped ones."""

import os
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import nets
import numpy as np
import onnxruntime
import pytest

from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError, EngineError
from linewatch.contracts.manifest import EngineManifest, Task
from linewatch.contracts.ports import Backend
from linewatch.inference.backends.openvino import shared_core
from linewatch.inference.backends.registry import BACKENDS, open_backend
from linewatch.inference.engines import load_engine
from linewatch.inference.settings import InferenceSettings
from linewatch.service_settings import settings_from
from linewatch.simulation.strip import SimulatedStrip

LADDER = (1, 2, 4, 8)
SHIPPED = Path(__file__).parents[2] / "engines"
needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="needs linewatch[openvino]")


def _synthetic(task: Task) -> tuple[EngineManifest, bytes]:
    lines, width = (64, 208) if task in {Task.SCREEN, Task.INSPECT} else (64, 64)
    model = getattr(nets, task.value)(lines, width)
    return nets.manifest(task, model, lines, width), model


def _shipped(name: str) -> tuple[EngineManifest, bytes]:
    task = EngineManifest.model_validate_json((SHIPPED / name / "manifest.json").read_bytes()).task
    engine = load_engine(SHIPPED, name, task)
    return engine.manifest, engine.model


NAMES = sorted(path.parent.name for path in SHIPPED.glob("*/manifest.json"))
ENGINES = [pytest.param(_synthetic, task, id=f"synthetic-{task}") for task in Task] + [
    pytest.param(_shipped, name, id=f"shipped-{name}") for name in NAMES
]
SHIPPED_IS_HEAVY = ENGINES[: len(Task)] + [
    pytest.param(_shipped, name, id=f"shipped-{name}", marks=pytest.mark.heavy) for name in NAMES
]


@pytest.mark.slow
@pytest.mark.parametrize(("make", "which"), SHIPPED_IS_HEAVY)
def test_a_row_has_the_same_bytes_in_any_batch_place_fill_and_worker(make, which, backend: Backend) -> None:  # type: ignore[no-untyped-def]
    check_rows(*make(which), backend)


@pytest.mark.slow
@needs_openvino
@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("-int8")])
def test_a_row_of_a_shipped_engine_has_the_same_bytes_wherever_it_is(name: str) -> None:
    """On the backend that a service has where it may choose, whose runtimes the heavy tests try one by one."""
    check_rows(*_shipped(name), open_backend("cpu"))


def check_rows(manifest: EngineManifest, model: bytes, backend: Backend) -> None:
    rng = np.random.default_rng(5)
    rows = rng.integers(0, 256, (8, 1, manifest.input.lines, manifest.input.width), dtype=np.uint8)
    # A GPU plan has one batch shape, which the ladder gives and the identity names (decision 13).
    alone = backend.open(manifest, model, LADDER if backend.name == "tensorrt" else (1,), 1)[0]
    expected = np.concatenate([alone.run(rows[i : i + 1], 1) for i in range(8)])
    alone.close()
    assert len({row.tobytes() for row in expected}) == 8  # a test on equal rows would prove nothing

    executors = backend.open(manifest, model, LADDER, 3)
    found: dict[tuple[int, int, int], bool] = {}

    def work(worker: int) -> None:
        for rung in LADDER:
            for fill in {1, rung // 2 + 1, rung}:
                order = np.random.default_rng(worker * 100 + rung).permutation(8)[:rung]
                output = executors[worker].run(np.ascontiguousarray(rows[order]), fill)
                found[worker, rung, fill] = output.tobytes() == expected[order[:fill]].tobytes()

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for executor in executors:
        executor.close()
    assert len(found) == 3 * (1 + 2 + 3 + 3)
    assert all(found.values()), [key for key, equal in found.items() if not equal]


def test_results_are_the_callers_own(backend: Backend) -> None:
    """A later run leaves an earlier result alone, and read-only pixels are taken."""
    manifest, model = _synthetic(Task.SEGMENT)
    executor = backend.open(manifest, model, (1,), 1)[0]
    pixels = np.random.default_rng(1).integers(0, 256, (2, 1, 64, 64), dtype=np.uint8)
    pixels.flags.writeable = False
    first = executor.run(pixels[:1], 1)
    before = first.copy()
    second = executor.run(pixels[1:], 1)
    assert not np.shares_memory(first, second)
    assert (first == before).all()
    assert (first != second).any()


TOLERANCE = {"fp32": 1e-5, "int8": 0.01}
"""Mean difference between CPU backends, as a share of full scale: in INT8 a value may round up or down."""


@pytest.mark.slow
@needs_openvino
@pytest.mark.parametrize(("make", "which"), ENGINES)
def test_backends_agree_to_within_the_precisions_rounding(make, which) -> None:  # type: ignore[no-untyped-def]
    manifest, model = make(which)
    pixels = _strip(manifest.input.lines, manifest.input.width)
    outputs = [open_backend(n).open(manifest, model, (1,), 1)[0].run(pixels, 1) for n in ("openvino", "onnxruntime")]
    full_scale = 255.0 if outputs[0].dtype == np.uint8 else 1.0
    apart = np.abs(outputs[0].astype(np.float64) - outputs[1].astype(np.float64)) / full_scale
    assert apart.mean() <= TOLERANCE[manifest.precision]


def _strip(lines: int, width: int) -> np.ndarray:
    """Return rendered strip, uint8 (1, 1, lines, width): an INT8 engine's scales do not fit noise."""
    line = LineSettings(width_px=width, frame_lines=lines)
    return SimulatedStrip(7, 1.0, 8.0, line).lines(0, lines)[np.newaxis, np.newaxis]


@needs_openvino
def test_each_task_runs_on_the_runtime_that_is_faster_for_it() -> None:
    backend = open_backend("cpu")
    runtimes = {task: backend.identity(_synthetic(task)[0]).split("/")[1].split("-")[0] for task in Task}
    assert runtimes == dict.fromkeys(Task, "onnxruntime") | {Task.SEGMENT: "openvino"}


def test_the_identity_names_weights_runtime_precision_and_instruction_set(backend: Backend) -> None:
    manifest, _ = _synthetic(Task.SCREEN)
    weights, runtime, precision, isa = backend.identity(manifest).split("/")
    assert weights == f"screen@{manifest.model.sha256[:12]}"
    name = "onnxruntime" if backend.name == "cpu" else backend.name
    assert runtime.startswith(f"{name}-")  # "tensorrt-rtx-1.7", too
    assert precision == "fp32"
    assert isa


def test_the_configuration_offers_exactly_the_registered_backends() -> None:
    for name, kind in BACKENDS.items():
        assert InferenceSettings(backend=name).backend == name
        assert not kind.stands_in or InferenceSettings(fallback=(name,)).fallback == (name,)
    with pytest.raises(EngineError, match=f"found 'caffe', expected one of {', '.join(BACKENDS)}"):
        open_backend("caffe")
    refused = {"backend": "caffe", "fallback": ["tensorrt"]}
    with pytest.raises(ConfigError) as told:
        settings_from({"inference": refused}, "c.toml")
    backend, fallback = str(told.value).splitlines()
    assert "[inference] backend: found 'caffe', expected " in backend
    assert all(repr(name) in backend for name in BACKENDS)
    assert "fallback] 0: found 'tensorrt', expected " in fallback


@pytest.mark.parametrize("name", ["openvino", "cpu"])
def test_without_openvino_its_backends_say_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shared_core.cache_clear()
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match=r"install 'linewatch\[openvino\]', or set inference.backend"):
        open_backend(name)


@pytest.mark.slow
def test_the_default_backend_imports_no_other_runtime() -> None:
    """OpenVINO is an extra, so the default path must not need it."""
    assert _fresh("onnxruntime")[2] == "False"


def test_without_the_cuda_provider_its_backend_says_what_to_install() -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("the CUDA provider is here")
    with pytest.raises(EngineError, match="install onnxruntime-gpu in place of onnxruntime"):
        open_backend("onnxruntime-cuda")


THREADS = """
import os, threading, numpy as np, nets
from linewatch.contracts.manifest import Task
from linewatch.inference.backends.registry import open_backend
backend = open_backend({name!r})
model = nets.segment(64, 64)
before = len(os.listdir("/proc/self/task"))
executors = backend.open(nets.manifest(Task.SEGMENT, model, 64, 64), model, (1, 2), 2)
pixels = np.zeros((1, 1, 64, 64), np.uint8)
for executor in executors:
    executor.run(pixels, 1)
print(len(os.listdir("/proc/self/task")) - before)
import sys
print("openvino_telemetry" in sys.modules)
print("openvino" in sys.modules)
"""


def _fresh(name: str) -> list[str]:
    """Return what a new interpreter prints, in which no other test has imported the runtime."""
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests / "support"), str(tests.parent)])}
    program = [sys.executable, "-c", THREADS.format(name=name)]
    return subprocess.run(program, capture_output=True, text=True, check=True, env=environment).stdout.split()


@pytest.mark.slow
@needs_openvino
def test_openvino_runs_on_the_workers_thread_in_full_precision() -> None:
    manifest, model = _shipped("segment")
    executor = open_backend("openvino").open(manifest, model, (1,), 2)[0]
    compiled = executor._request.get_compiled_model()  # type: ignore[attr-defined]
    assert str(compiled.get_property("INFERENCE_PRECISION_HINT").to_dtype()) == "float32"
    pixels = np.zeros((1, 1, manifest.input.lines, manifest.input.width), np.uint8)
    own_s, all_s = time.thread_time(), time.process_time()
    for _ in range(20):
        executor.run(pixels, 1)
    assert time.thread_time() - own_s > 0.5 * (time.process_time() - all_s)


@pytest.mark.slow
def test_onnxruntime_runs_on_the_workers_threads_only() -> None:
    assert _fresh("onnxruntime")[0] == "0"


SIGNAL = """
import gc, signal
from pathlib import Path
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.engines import find_engine

engine = find_engine(Path("{engines}"), "classify")
backends = [open_backend("openvino") for _ in range(2)]
for backend in backends:
    backend.open(engine.manifest, engine.model, (1,), 1)
del backend
while backends:
    backends.pop(0)
    gc.collect()
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
signal.raise_signal(signal.SIGUSR1)
"""


@pytest.mark.slow
@needs_openvino
def test_a_signal_is_handled_after_openvino_backends_are_dropped_in_the_order_of_their_coming() -> None:
    """With a Core each, the second would restore the first's unmapped signal stack: exit code -11."""
    program = [sys.executable, "-c", SIGNAL.format(engines=SHIPPED)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=SHIPPED.parent)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


@pytest.mark.slow
@needs_openvino
def test_openvino_does_not_load_its_telemetry() -> None:
    assert _fresh("openvino")[1] == "False"


@pytest.mark.slow
def test_onnx_runtime_leaves_nothing_in_the_home_folder(tmp_path: Path) -> None:
    """Its telemetry stores a device id and a queue of messages there."""
    program = "from linewatch.inference.backends.registry import open_backend; open_backend('onnxruntime')"
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(SHIPPED.parent)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    assert list(tmp_path.rglob("*")) == []
