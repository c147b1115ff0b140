"""Which CPU backend is faster for the engines in `engines/`, and do batches pay? The default in `configs/` rests on it.

`python -m benchmarks.backends [--engines DIR] [--out FILE]` prints two tables and writes JSON. All variants take turns
within each round, so that a noisy machine hurts all alike; figures are medians over rounds.
"""

import argparse
import json
import platform
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from linewatch.contracts.manifest import EngineManifest
from linewatch.inference.backends.openvino import shared_core
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.engines import Engine, load_engine
from linewatch.inference.processor import available_cores, instruction_set

RUNTIMES = ("openvino", "onnxruntime")
LADDER = (1, 2, 4, 8)
ROUNDS = 9
ROUND_S = 0.15  # one variant's turn


@dataclass(frozen=True)
class BatchRow:
    """A true batch of `rung` rows in one call on one thread."""

    engine: str
    runtime: str
    rung: int
    ms_per_row: float
    equal_bytes: bool  # to the same rows run one by one


@dataclass(frozen=True)
class WorkerRow:
    """The backend as the service runs it: `workers` threads, row by row."""

    engine: str
    runtime: str
    workers: int
    rows_per_s: float


def batch_rows(engine: Engine) -> list[BatchRow]:
    """Cost per row of true batches; the backends themselves run row by row."""
    spec = engine.manifest.input
    pixels = np.random.default_rng(0).integers(0, 256, (LADDER[-1], 1, spec.lines, spec.width), dtype=np.uint8)
    calls = {
        (runtime, rung): open_call(engine, rung)
        for runtime, open_call in (("openvino", _openvino_call), ("onnxruntime", _onnxruntime_call))
        for rung in LADDER
    }
    alone = {r: np.concatenate([calls[r, 1](pixels[i : i + 1]) for i in range(len(pixels))]) for r in RUNTIMES}
    ms: dict[tuple[str, int], list[float]] = {key: [] for key in calls}
    for _ in track(range(ROUNDS), f"{engine.manifest.name}: batches", transient=True):
        for (runtime, rung), call in calls.items():
            batch = pixels[:rung]
            calls_done, started = 0, time.perf_counter()
            while time.perf_counter() - started < ROUND_S:
                call(batch)
                calls_done += 1
            ms[runtime, rung].append(1e3 * (time.perf_counter() - started) / calls_done / rung)
    return [
        BatchRow(
            engine.manifest.name,
            runtime,
            rung,
            statistics.median(ms[runtime, rung]),
            call(pixels[:rung]).tobytes() == alone[runtime][:rung].tobytes(),
        )
        for (runtime, rung), call in calls.items()
    ]


def worker_rows(engine: Engine) -> list[WorkerRow]:
    """Throughput of the backends over the number of workers, up to the cores that we may use."""
    spec = engine.manifest.input
    pixels = np.random.default_rng(0).integers(0, 256, (1, 1, spec.lines, spec.width), dtype=np.uint8)
    opened = {
        (runtime, workers): open_backend(runtime).open(engine.manifest, engine.model, (1,), workers)
        for runtime in RUNTIMES
        for workers in range(1, min(4, available_cores()) + 1)
    }
    rates: dict[tuple[str, int], list[float]] = {key: [] for key in opened}
    for _ in track(range(ROUNDS), f"{engine.manifest.name}: workers", transient=True):
        for key, executors in opened.items():
            rates[key].append(rows_per_s([partial(e.run, pixels, 1) for e in executors], ROUND_S))
    return [WorkerRow(engine.manifest.name, r, w, statistics.median(rates[r, w])) for r, w in opened]


def rows_per_s(calls: list[Callable[[], object]], turn_s: float) -> float:
    """Calls per second of all threads together, each making its own call of one row for `turn_s`."""
    counts = [0] * len(calls)
    barrier = threading.Barrier(len(calls) + 1)

    def work(number: int) -> None:
        barrier.wait()
        end = time.perf_counter() + turn_s
        while time.perf_counter() < end:
            calls[number]()
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    barrier.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


def _openvino_call(engine: Engine, rung: int) -> Callable[[np.ndarray], np.ndarray]:
    import openvino

    manifest: EngineManifest = engine.manifest
    core = shared_core()
    graph = core.read_model(engine.model)
    graph.reshape([rung, 1, manifest.input.lines, manifest.input.width])
    settings = {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(graph, "CPU", settings).create_infer_request()

    def call(pixels: np.ndarray) -> np.ndarray:
        request.set_input_tensor(openvino.Tensor(pixels, shared_memory=True))
        request.infer()
        return np.array(request.get_tensor(manifest.output).data)

    return call


def _onnxruntime_call(engine: Engine, rung: int) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(engine.model, options, providers=["CPUExecutionProvider"])
    manifest = engine.manifest

    def call(pixels: np.ndarray) -> np.ndarray:
        output: np.ndarray = session.run([manifest.output], {manifest.input.name: pixels})[0]
        return output

    return call


def show(batches: list[BatchRow], workers: list[WorkerRow], console: Console) -> None:
    """The two tables."""
    table = Table(
        "engine", "runtime", *(f"{rung}" for rung in LADDER), title="One thread, ms per row by true batch size"
    )
    for engine in dict.fromkeys(row.engine for row in batches):
        for runtime in RUNTIMES:
            rows = [row for row in batches if (row.engine, row.runtime) == (engine, runtime)]
            cells = [f"{row.ms_per_row:.2f}{'' if row.equal_bytes else ' (other bytes)'}" for row in rows]
            table.add_row(engine, runtime, *cells)
    console.print(table)
    counts = sorted({row.workers for row in workers})
    table = Table("engine", "", *(f"{count}" for count in counts), title="As served, rows per second by workers")
    for engine in dict.fromkeys(row.engine for row in workers):
        rates = {(row.runtime, row.workers): row.rows_per_s for row in workers if row.engine == engine}
        for runtime in RUNTIMES:
            table.add_row(engine, runtime, *(f"{rates[runtime, count]:.0f}" for count in counts))
        ratios = [rates["openvino", count] / rates["onnxruntime", count] for count in counts]
        table.add_row(engine, "openvino / onnxruntime", *(f"{ratio:.2f}" for ratio in ratios))
    console.print(table)


def measure(folder: Path, console: Console) -> dict[str, Any]:
    """Both tables for the engines in `folder`, shown and as data."""
    engines = []
    for path in sorted(folder.glob("*/manifest.json")):
        task = EngineManifest.model_validate_json(path.read_bytes()).task
        engines.append(load_engine(folder, path.parent.name, task))
    if not engines:
        raise SystemExit(f"no engines in {folder}; expected NAME/manifest.json")
    batches = [row for engine in engines for row in batch_rows(engine)]
    workers = [row for engine in engines for row in worker_rows(engine)]
    show(batches, workers, console)
    return {"batches": [asdict(row) for row in batches], "workers": [asdict(row) for row in workers]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", type=Path, default=Path("engines"))
    parser.add_argument("--out", type=Path, default=Path("out/bench-backends.json"))
    arguments = parser.parse_args()
    result: dict[str, Any] = {
        "machine": {"cores": available_cores(), "isa": instruction_set(), "python": platform.python_version()}
    } | measure(arguments.engines, Console(width=120))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
