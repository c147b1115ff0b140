"""How do frames per second follow the cores and the share of defective tiles, and how near is each engine to the
machine's peak? `python -m benchmarks.scaling`

Cores are taken away by CPU affinity, one worker for each. The peak is what NumPy's matrix product reaches on one core,
the same kind of core in the same minute; INT8 engines may pass it, since a byte's product costs a quarter.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.load import simulated_frames
from benchmarks.run import DEFECTS_PER_M, LAPS, machine, on_any_port, run_service
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.engines import load_engines
from linewatch.inference.processor import available_cores
from linewatch.service_settings import ServiceSettings

ROUNDS = 3
ENGINE_ROUNDS = 15
DENSITIES_PER_M = (0.0, 0.4, 0.8, 2.0, 6.0, 20.0)
GFLOP = {"screen": 0.86, "classify": 0.58, "segment": 0.53}
"""Of one row of the shipped networks, two for a product and a sum: `linewatch networks`."""


PEAK = """
import numpy, time
a, b = numpy.random.default_rng(0).standard_normal((2, 1024, 1024)).astype(numpy.float32)
def once():
    started = time.perf_counter()
    a @ b
    return 2 * 1024**3 / (time.perf_counter() - started) / 1e9
print(numpy.median([once() for _ in range(31)]))
"""
"""GFLOP/s of a process of its own, since a library's threads, once made, do not follow a process' affinity."""
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class CoresRow:
    """The service on so many cores."""

    cores: int
    frames_per_s: float
    per_core_share: float  # of what one core does


@dataclass(frozen=True)
class DefectsRow:
    """The service on strip with so many defective tiles."""

    defective_tiles: float
    passed_tiles: float
    frames_per_s: float
    cpu_ms_per_frame: float


@dataclass(frozen=True)
class RoofRow:
    """One engine alone on one core."""

    engine: str
    ms_per_row: float
    gflop_per_s: float
    share_of_peak: float


def by_cores(settings: ServiceSettings, frames: list[np.ndarray]) -> list[CoresRow]:
    """1, 2, 4 ... of the cores that this process may use."""
    own = sorted(os.sched_getaffinity(0))
    counts = [count for count in (1, 2, 4, 8, 16) if count <= len(own)]
    rows: list[CoresRow] = []
    try:
        for count in counts:
            os.sched_setaffinity(0, own[:count])
            inference = settings.inference.model_copy(update={"workers": count})
            at = settings.model_copy(update={"inference": inference})
            speed = statistics.median(run_service(at, frames, LAPS * len(frames)).frames_per_s for _ in range(ROUNDS))
            rows.append(CoresRow(count, speed, speed / (count * (rows[0].frames_per_s if rows else speed))))
    finally:
        os.sched_setaffinity(0, own)
    return rows


def by_defects(settings: ServiceSettings, count: int) -> list[DefectsRow]:
    """Rendered strip from clean to crowded."""
    rows = []
    for density in DENSITIES_PER_M:
        frames, defective = simulated_frames(count, density, settings.line)
        runs = [run_service(settings, frames, LAPS * count) for _ in range(ROUNDS)]
        run = sorted(runs, key=lambda run: run.frames_per_s)[ROUNDS // 2]
        rows.append(DefectsRow(defective, run.tiles_passed_share, run.frames_per_s, run.cpu_ms_per_frame))
    return rows


def roofline(settings: ServiceSettings) -> tuple[float, list[RoofRow]]:
    """The peak of one core in GFLOP/s, and what each engine reaches of it there; turns taken in every round."""
    own = sorted(os.sched_getaffinity(0))
    backend = open_backend(settings.inference.backend, settings.inference)
    rng = np.random.default_rng(0)
    loaded = []
    for precision in ("fp32", "int8"):
        inference = settings.inference.model_copy(update={"precision": precision})
        for task, engine in load_engines(inference, backend.siblings).by_task().items():
            spec = engine.manifest.input
            pixels = rng.integers(0, 256, (1, 1, spec.lines, spec.width), dtype=np.uint8)
            if all(name != engine.manifest.name for name, *_ in loaded):
                (executor,) = backend.open(engine.manifest, engine.model, (1,), 1)
                loaded.append((engine.manifest.name, task.value, executor, pixels))
    times: dict[str, list[float]] = {name: [] for name, *_ in loaded}
    try:
        os.sched_setaffinity(0, own[:1])
        for _ in range(ENGINE_ROUNDS):
            for name, _, executor, pixels in loaded:
                started = time.perf_counter()
                executor.run(pixels, 1)
                times[name].append(time.perf_counter() - started)
    finally:
        os.sched_setaffinity(0, own)
    peak = float(subprocess.check_output([sys.executable, "-c", PEAK], env={**os.environ, **ONE_THREAD}))
    rows = []
    for name, task, executor, _ in loaded:
        executor.close()
        row_s = statistics.median(times[name])
        rows.append(RoofRow(name, 1e3 * row_s, GFLOP[task] / row_s, GFLOP[task] / row_s / peak))
    return peak, rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/simulator.toml"))
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("out/scaling.json"))
    options = parser.parse_args(arguments)
    console = Console(width=120)
    settings = on_any_port(options.config)

    peak, roof = roofline(settings)
    table = Table("engine", "ms a row", "GFLOP/s", "of the peak", title=f"One core; peak {peak:.0f} GFLOP/s")
    for engine in roof:
        table.add_row(
            engine.engine, f"{engine.ms_per_row:.1f}", f"{engine.gflop_per_s:.0f}", f"{engine.share_of_peak:.0%}"
        )
    console.print(table)
    frames, _ = simulated_frames(options.frames, DEFECTS_PER_M, settings.line)
    cores = by_cores(settings, frames)
    table = Table("cores", "frames/s", "of as many single cores")
    for row in cores:
        table.add_row(str(row.cores), f"{row.frames_per_s:.1f}", f"{row.per_core_share:.0%}")
    console.print(table)
    defects = by_defects(settings, options.frames)
    table = Table("defective tiles", "passed", "frames/s", "CPU ms a frame")
    for at in defects:
        table.add_row(
            f"{at.defective_tiles:.1%}",
            f"{at.passed_tiles:.1%}",
            f"{at.frames_per_s:.1f}",
            f"{at.cpu_ms_per_frame:.1f}",
        )
    console.print(table)
    report = {
        "machine": machine(settings, available_cores()),
        "peak_gflop_per_s": peak,
        "roofline": [asdict(row) for row in roof],
        "cores": [asdict(row) for row in cores],
        "defects": [asdict(row) for row in defects],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    console.print(str(options.out))


if __name__ == "__main__":
    main()
