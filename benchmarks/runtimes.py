"""Our backends, as the service runs them, against each runtime's own benchmark tool: `python -m benchmarks.runtimes`.

Both look at the same model on the same cores, in turns; a ratio is the median over rounds with its 95 % bootstrap.
OpenVINO's tool is `benchmark_app`, of its wheel. ONNX Runtime's is in no wheel: `benchmarks.sessions` stands in for it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.backends import RUNTIMES, rows_per_s
from benchmarks.ratio import median_ratio
from benchmarks.sessions import SessionProcesses
from linewatch.contracts.ports import Backend
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.engines import Engine, load_engines
from linewatch.inference.processor import available_cores, instruction_set
from linewatch.inference.settings import InferenceSettings

ROUNDS, TURN_S = 5, 2
AIM = 0.95
BENCHMARK_APP = (
    "import sys; sys.modules['openvino_telemetry'] = None; import openvino.tools.benchmark.main as m; m.main()"
)
"""OpenVINO's `benchmark_app` without the package that calls home."""

Turn = Callable[[], float]
"""Rows per second of one turn."""


@dataclass(frozen=True)
class PeerRow:
    """Our backend with one-thread workers over a peer on the same model, in alternating rounds."""

    engine: str
    runtime: str
    peer: str
    ours_rows_per_s: list[float]
    peer_rows_per_s: list[float]
    ratio: float  # median of rounds
    low: float  # bootstrap of that median, 95 %
    high: float


def compare(backend: Backend, engine: Engine, workers: int, rounds: int, turn_s: int) -> list[PeerRow]:
    """One engine on one backend against each peer that its runtime has."""
    spec = engine.manifest.input
    pixels = np.random.default_rng(0).integers(0, 256, (1, 1, spec.lines, spec.width), dtype=np.uint8)
    with ExitStack() as stack:
        executors = backend.open(engine.manifest, engine.model, (1,), workers)
        for executor in executors:
            stack.callback(executor.close)
            executor.run(pixels, 1)
        turns: dict[str, Turn] = {"ours": partial(rows_per_s, [partial(e.run, pixels, 1) for e in executors], turn_s)}
        turns |= (
            _openvino_peers(engine, workers, turn_s)
            if backend.name == "openvino"
            else _onnxruntime_peers(engine, workers, turn_s, stack)
        )
        rates: dict[str, list[float]] = {name: [] for name in turns}
        for number in range(rounds):  # without a progress bar, whose thread would take the interpreter from ours
            for name in _from(list(turns), number):
                rates[name].append(turns[name]())
    ours = rates.pop("ours")
    return [
        PeerRow(engine.manifest.name, backend.name, peer, ours, theirs, *median_ratio(ours, theirs))
        for peer, theirs in rates.items()
    ]


def _from(names: list[str], number: int) -> list[str]:
    """All of them, beginning with another one in each round."""
    first = number % len(names)
    return names[first:] + names[:first]


def _openvino_peers(engine: Engine, cores: int, turn_s: int) -> dict[str, Turn]:
    each = ("-hint", "none", "-nstreams", str(cores), "-nthreads", str(cores))
    peers: dict[str, Turn] = {"benchmark_app, a stream a core": partial(_benchmark_app, engine, turn_s, *each)}
    if cores == os.cpu_count():  # with its own choice it left an affinity of one core
        peers["benchmark_app, throughput"] = partial(_benchmark_app, engine, turn_s, "-hint", "throughput")
    return peers


def _onnxruntime_peers(engine: Engine, cores: int, turn_s: int, stack: ExitStack) -> dict[str, Turn]:
    default = 0 if cores == os.cpu_count() else cores  # its default counts all cores, whatever we may use
    whole, each = (stack.enter_context(SessionProcesses(engine, *of)) for of in ((1, default), (cores, 1)))
    return {
        "a one-thread session and process a core": partial(each.rows_per_s, turn_s),
        "one session on all cores": partial(whole.rows_per_s, turn_s),
    }


def _benchmark_app(engine: Engine, turn_s: int, *mode: str) -> float:
    """Rows per second as the tool reports them; its start and the compilation are not in them."""
    spec = engine.manifest.input
    shape = f"[1,1,{spec.lines},{spec.width}]"
    with TemporaryDirectory(prefix="linewatch-bench-") as folder:
        model = ["-m", str(engine.directory / engine.manifest.model.file), "-shape", shape, "-infer_precision", "f32"]
        report = ["-report_type", "no_counters", "-report_folder", folder, "-json_stats", "true"]
        command = [sys.executable, "-c", BENCHMARK_APP, *model, *mode, "-t", str(turn_s), *report]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        written = Path(folder) / "benchmark_report.json"
        if done.returncode or not written.is_file():
            raise SystemExit(f"benchmark_app failed ({done.returncode}): {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return float(json.loads(written.read_text())["execution_results"]["throughput"])


def shipped(folder: Path, backend: Backend) -> list[Engine]:
    """The engines in FP32, and their INT8 siblings that the backend prefers, each once."""
    sets = (
        load_engines(InferenceSettings(engines_dir=folder, precision=precision), backend.siblings).by_task().values()
        for precision in ("fp32", "int8")
    )
    return list({engine.manifest.name: engine for engines in sets for engine in engines}.values())


def show(rows: list[PeerRow], workers: int, console: Console) -> None:
    table = Table(
        "engine", "runtime", "ours", "peer", "", "ours / peer", title=f"Rows per second, {workers} workers; aim {AIM}"
    )
    for row in rows:
        ours, theirs = (statistics.median(rates) for rates in (row.ours_rows_per_s, row.peer_rows_per_s))
        ratio = f"{row.ratio:.3f} ({row.low:.3f} to {row.high:.3f})"
        style = "red" if row.high < AIM else None
        table.add_row(row.engine, row.runtime, f"{ours:.0f}", row.peer, f"{theirs:.0f}", ratio, style=style)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", type=Path, default=Path("engines"))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--turn-s", type=int, default=TURN_S, help="whole seconds, as benchmark_app wants them")
    parser.add_argument("--only", default="", help="engines whose names begin so")
    parser.add_argument("--out", type=Path, default=Path("out/bench-runtimes.json"))
    options = parser.parse_args()
    console, workers = Console(width=120), available_cores()
    load_before = os.getloadavg()[0]
    rows: list[PeerRow] = []
    for backend in map(open_backend, RUNTIMES):
        for engine in shipped(options.engines, backend):
            if engine.manifest.name.startswith(options.only):
                console.print(f"{backend.name}: {engine.manifest.name}")
                rows += compare(backend, engine, workers, options.rounds, options.turn_s)
    show(rows, workers, console)
    machine = {"cores": workers, "isa": instruction_set(), "load_before": load_before}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
