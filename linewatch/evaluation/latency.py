"""Latency of engines on this machine, one thread each, measured in turns so that noise affects all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence

import numpy as np

from linewatch.inference.backends.registry import open_backend
from linewatch.inference.engines import Engine

CPU_BACKENDS = ("onnxruntime", "openvino")
_ROUNDS, _TURN_S = 9, 0.1


def ms_per_row(engines: Mapping[str, Engine], backends: Sequence[str] = CPU_BACKENDS) -> dict[tuple[str, str], float]:
    """Return milliseconds per row by (key of `engines`, backend): the median of nine interleaved turns."""
    spec = next(iter(engines.values())).manifest.input
    pixels = np.random.default_rng(0).integers(0, 256, (1, 1, spec.lines, spec.width), np.uint8)
    executors = {
        (name, backend): open_backend(backend).open(engine.manifest, engine.model, (1,), 1)[0]
        for name, engine in engines.items()
        for backend in backends
    }
    turns: dict[tuple[str, str], list[float]] = {key: [] for key in executors}
    for _ in range(_ROUNDS + 1):
        for key, executor in executors.items():
            runs, started = 0, time.perf_counter()
            while time.perf_counter() - started < _TURN_S:
                executor.run(pixels, 1)
                runs += 1
            turns[key].append(1000 * (time.perf_counter() - started) / runs)
    for executor in executors.values():
        executor.close()
    return {key: statistics.median(times[1:]) for key, times in turns.items()}
