"""The engines in `engines/` on this machine's GPU: build, parity, equal bytes, speed. `make gpu-check`.

`python -m benchmarks.gpu [--engines DIR] [--plans DIR] [--out FILE]` prints two tables and writes JSON. Exit codes: 0
done, or no GPU or TensorRT here, which it says in one line; 1 an engine is wrong or cannot run. It needs numpy,
pydantic, rich, onnx, onnxruntime, cuda-bindings and TensorRT or TensorRT-RTX, none of linewatch's other requirements.

All variants of an engine take turns within each round; figures are medians over rounds, by the host's clock: a run is
pixels copied in, upload, compute, download, result copied out.
"""

import argparse
import itertools
import json
import platform
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.table import Table

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import Task
from linewatch.contracts.ports import Executor
from linewatch.inference.backends.onnxruntime import OnnxRuntimeBackend
from linewatch.inference.backends.tensorrt.backend import TensorRtBackend
from linewatch.inference.backends.tensorrt.executor import TensorRtExecutor
from linewatch.inference.backends.tensorrt.gpu import Gpu, find_gpu
from linewatch.inference.backends.tensorrt.library import Library, import_library
from linewatch.inference.backends.tensorrt.progress import build_progress
from linewatch.inference.engines import Engine, find_engine

LADDERS = ((1,), (1, 2, 4, 8))
WORKERS = (1, 2, 4)
ROUNDS = 7
ROUND_S = 0.2  # one variant's turn
TOLERANCE = {  # largest difference to ONNX Runtime's FP32: of a probability, of a level of the segmenter's 255
    "fp32": (1e-4, 1),
    "fp16": (2e-2, 8),
    "int8": (2e-2, 8),  # to ONNX Runtime on the same Q/DQ model, whose roundings may fall the other way
}


@dataclass(frozen=True)
class SpeedRow:
    """One way to run an engine: plan rows a run, filled rows, workers at once; as a CUDA graph or launch by launch."""

    rows_per_run: int
    workers: int
    graph: bool
    ms_per_run: float  # of one worker
    rows_per_s: float  # of all workers together


@dataclass
class Checked:
    """What came of one engine in one precision. `fault`: why there is no more; None when all is well."""

    engine: str
    precision: str
    identity: str = ""
    plan_mb: float = 0.0
    build_s: float = 0.0
    open_s: float = 0.0  # load, make contexts, first runs; TensorRT-RTX compiles its kernels here
    precisions: dict[str, int] = field(default_factory=dict)
    largest_difference: float = 0.0
    tolerance: float = 0.0
    equal_bytes: bool = False  # of a row over fill, place, neighbours, workers and graph
    equal_over_ladders: bool = False  # of a row in plans of 1 and 8 rows; not promised
    speed: list[SpeedRow] = field(default_factory=list)
    fault: str | None = None


def check_engine(engine: Engine, precision: Literal["fp32", "fp16"], plans: Path) -> Checked:
    """Everything about one engine; a failure is a result too."""
    manifest = engine.manifest
    checked = Checked(manifest.name, precision if manifest.precision == "fp32" else manifest.precision)
    opened: list[TensorRtExecutor] = []
    try:
        variants = _open(engine, precision, plans, checked, opened)
        _judge(engine, variants, checked)
        _measure(engine, variants, checked)
    except EngineError as error:
        checked.fault = str(error)
    finally:
        for executor in opened:
            executor.close()
    return checked


Variants = dict[tuple[int, bool], tuple[TensorRtExecutor, ...]]  # by rows a run, graph asked for


def _open(
    engine: Engine, precision: Literal["fp32", "fp16"], plans: Path, checked: Checked, opened: list[TensorRtExecutor]
) -> Variants:
    manifest, model = engine.manifest, engine.model
    ladders = LADDERS[:1] if manifest.task is Task.SCREEN else LADDERS  # a screen's frames come alone
    variants: Variants = {}
    for ladder, graphs in itertools.product(ladders, (False, True)):
        backend = TensorRtBackend(plans, precision, graphs=graphs)
        with build_progress() as watch:
            plan = backend.prepare(manifest, model, ladder, watch)
        started_s = time.monotonic()
        executors = backend.open(manifest, model, ladder, max(WORKERS))
        opened.extend(executors)
        variants[plan.record.key.rows, graphs] = executors
        checked.open_s = max(checked.open_s, time.monotonic() - started_s)
        checked.plan_mb, checked.build_s = len(plan.data) / 1e6, plan.record.built_in_s
        checked.identity, checked.precisions = backend.identity(manifest), plan.record.precisions.products
    return variants


def _judge(engine: Engine, variants: Variants, checked: Checked) -> None:
    pixels = _pixels(engine)
    (reference,) = OnnxRuntimeBackend().open(engine.manifest, engine.model, (1,), 1)
    expected = reference.run(pixels, len(pixels)).astype(np.float32)
    outputs = {key: _alone(executors[0], pixels) for key, executors in variants.items()}
    found = outputs[max(outputs)]
    checked.tolerance = TOLERANCE[checked.precision][engine.manifest.task is Task.SEGMENT]
    checked.largest_difference = float(np.abs(found.astype(np.float32) - expected).max())
    rows = max(rows for rows, _ in variants)
    checked.equal_bytes = outputs[rows, True].tobytes() == outputs[rows, False].tobytes() and all(
        _same_in_batches(executor, pixels, outputs[rows, True]) for executor in variants[rows, True]
    )
    checked.equal_over_ladders = len({output.tobytes() for output in outputs.values()}) == 1
    if not checked.largest_difference <= checked.tolerance:
        checked.fault = f"differs from ONNX Runtime by {checked.largest_difference:.3g}, at most {checked.tolerance:g}"
    elif not checked.equal_bytes:
        checked.fault = "a row's bytes depend on fill, place, worker or graph; set inference.ladder = [1]"


def _alone(executor: Executor, pixels: np.ndarray) -> np.ndarray:
    return np.concatenate([executor.run(pixels[row : row + 1], 1) for row in range(len(pixels))])


def _same_in_batches(executor: Executor, pixels: np.ndarray, expected: np.ndarray) -> bool:
    rng = np.random.default_rng(3)
    for fill in (1, 3, 8):
        order = rng.permutation(len(pixels))
        output = executor.run(np.ascontiguousarray(pixels[order]), fill)
        if output.tobytes() != expected[order[:fill]].tobytes():
            return False
    return True


def _measure(engine: Engine, variants: Variants, checked: Checked) -> None:
    cases = [
        (rows, graph, workers)
        for rows, graph in variants
        for workers in (WORKERS if graph else WORKERS[:1])
    ]  # fmt: skip
    pixels = np.ascontiguousarray(_pixels(engine))
    rates: dict[tuple[int, bool, int], list[float]] = {case: [] for case in cases}
    for _ in range(ROUNDS):
        for rows, graph, workers in cases:
            runs_per_s = _runs_per_s(variants[rows, graph][:workers], pixels[:rows])
            rates[rows, graph, workers].append(runs_per_s)
    for rows, graph, workers in cases:
        rate = statistics.median(rates[rows, graph, workers])
        checked.speed.append(
            SpeedRow(rows, workers, variants[rows, graph][0].has_graph, 1e3 * workers / rate, rate * rows)
        )


def _runs_per_s(executors: Sequence[Executor], pixels: np.ndarray) -> float:
    """Of all executors together, each on a thread of its own for one turn."""
    counts = [0] * len(executors)
    barrier = threading.Barrier(len(executors) + 1)

    def work(number: int) -> None:
        barrier.wait()
        end_s = time.perf_counter() + ROUND_S
        while time.perf_counter() < end_s:
            executors[number].run(pixels, len(pixels))
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(executors))]
    for thread in threads:
        thread.start()
    barrier.wait()
    started_s = time.perf_counter()
    for thread in threads:
        thread.join()
    return max(1, sum(counts)) / (time.perf_counter() - started_s)


def _pixels(engine: Engine) -> np.ndarray:
    """Eight rows: noise, and noise as faint as clean steel's."""
    spec = engine.manifest.input
    pixels = np.random.default_rng(0).integers(0, 256, (8, 1, spec.lines, spec.width), dtype=np.uint8)
    pixels[4:] = pixels[4:] // 16 + 110
    return pixels


def show(all_checked: Sequence[Checked], console: Console) -> None:
    """Both tables."""
    columns = ("engine", "products", "plan, MB", "build, s", "open, s", "difference", "bytes equal", "over plans", "")
    table = Table(*columns, title="Build and parity", title_justify="left")
    for row in all_checked:
        table.add_row(
            row.engine,
            ", ".join(f"{count} {name}" for name, count in row.precisions.items()) or row.precision,
            f"{row.plan_mb:.1f}",
            f"{row.build_s:.1f}",
            f"{row.open_s:.1f}",
            f"{row.largest_difference:.2g} of {row.tolerance:g}",
            "yes" if row.equal_bytes else "no",
            "yes" if row.equal_over_ladders else "no",
            row.fault or "good",
        )
    console.print(table)
    table = Table("engine", "precision", "rows a run", "workers", "CUDA graph", "ms a run", "rows/s", title="Speed")
    for row in all_checked:
        for speed in row.speed:
            table.add_row(
                row.engine,
                row.precision,
                f"{speed.rows_per_run}",
                f"{speed.workers}",
                "yes" if speed.graph else "no",
                f"{speed.ms_per_run:.3f}",
                f"{speed.rows_per_s:.0f}",
            )
    console.print(table)


def machine(gpu: Gpu, library: Library) -> dict[str, Any]:
    """What the figures belong to."""
    return {
        "gpu": asdict(gpu),
        "tensorrt": f"{library.flavour} {library.version}",
        "python": platform.python_version(),
        "processor": platform.machine(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", type=Path, default=Path("engines"))
    parser.add_argument("--plans", type=Path, help="keep the plans there; default: build all anew")
    parser.add_argument("--out", type=Path, default=Path("out/gpu.json"))
    arguments = parser.parse_args()
    try:
        library, gpu = import_library(), find_gpu()
    except EngineError as missing:
        print(f"gpu-check: nothing was run. {missing}")
        return 0
    names = sorted(path.parent.name for path in arguments.engines.glob("*/manifest.json"))
    all_checked = []
    with TemporaryDirectory(prefix="linewatch-plans-") as fresh:
        for name in names:
            engine = find_engine(arguments.engines, name)
            if engine.manifest.quantisation is not None and engine.manifest.quantisation.activations == "uint8":
                continue  # for CPUs alone
            for precision in ("fp32", "fp16") if engine.manifest.precision == "fp32" else ("fp32",):
                print(f"{name} {precision} ...", file=sys.stderr, flush=True)
                all_checked.append(check_engine(engine, precision, arguments.plans or Path(fresh)))
    show(all_checked, Console(width=150))
    result = {"machine": machine(gpu, library), "engines": [asdict(checked) for checked in all_checked]}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{gpu.name}, {library.flavour} {library.version}; {arguments.out}")
    return 1 if any(checked.fault for checked in all_checked) or not all_checked else 0


if __name__ == "__main__":
    sys.exit(main())
