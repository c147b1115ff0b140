"""The table of `linewatch networks`: each network's size, and its time on one thread of ONNX Runtime."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from rich.table import Table
from torch import nn

from linewatch.contracts.closed import ClosedModel
from linewatch.export.engine_folder import onnx_bytes
from linewatch.networks.count import size_of
from linewatch.networks.registry import NETWORKS
from linewatch.networks.spec import NetworkSpec
from linewatch.training.runs import device_name

MEASURED = Path("benchmarks/networks.json")
_ROUNDS = 5


class MeasuredLatency(ClosedModel):
    """Milliseconds per row by network (and variant), one thread, the median of five, and the machine."""

    device: str
    runtime: str
    ms: dict[str, float]


class NetworkRow(ClosedModel):
    """A network, or a variant of one, as it is listed. `recipe` is the training protocol."""

    name: str
    task: str
    lines: int
    width: int
    parameters: int
    keras_parameters: int
    gflop: float
    ms_per_row: float | None
    paper: str
    recipe: str


def rows(measured: MeasuredLatency | None) -> list[NetworkRow]:
    """List all networks, with `ms_per_row` where it has been measured."""
    found = []
    for name, spec, options in _variants():
        size = size_of(spec, **options)
        found.append(
            NetworkRow(
                name=name,
                task=spec.task,
                lines=spec.lines,
                width=spec.width,
                parameters=size.parameters,
                keras_parameters=size.keras_parameters,
                gflop=round(size.gflop, 3),
                ms_per_row=measured.ms.get(name) if measured else None,
                paper=spec.paper,
                recipe=spec.protocol,
            )
        )
    return found


def measure() -> MeasuredLatency:
    """Export every network with random weights and time it; the large ones take minutes."""
    ms = {}
    for name, spec, options in _variants():
        network = spec.build(**options).eval()
        ms[name] = round(_ms(network, spec.lines, spec.width), 2)
    return MeasuredLatency(device=device_name().split(",")[0], runtime=f"onnxruntime {onnxruntime.__version__}", ms=ms)


def read_measured(path: Path = MEASURED) -> MeasuredLatency | None:
    """Return the latencies of an earlier measurement, if there is one."""
    return MeasuredLatency.model_validate_json(path.read_bytes()) if path.is_file() else None


def table(listed: list[NetworkRow], measured: MeasuredLatency | None) -> Table:
    """Return the table that the command prints."""
    caption = "" if measured is None else f"ms: one thread of {measured.runtime} on {measured.device}"
    found = Table(title="networks", caption=caption, title_justify="left", caption_justify="left")
    for column in ("name", "task", "input", "parameters", "Keras' count", "GFLOP", "ms/tile", "paper", "recipe"):
        found.add_column(
            column, justify="right" if column in ("parameters", "Keras' count", "GFLOP", "ms/tile") else "left"
        )
    for row in listed:
        found.add_row(
            row.name,
            row.task,
            f"{row.lines} x {row.width}",
            f"{row.parameters:,}",
            f"{row.keras_parameters:,}",
            f"{row.gflop:.2f}",
            "-" if row.ms_per_row is None else f"{row.ms_per_row:.1f}",
            row.paper,
            row.recipe,
        )
    return found


def _variants() -> Iterator[tuple[str, NetworkSpec, dict[str, Any]]]:
    for name, spec in NETWORKS.items():
        for encoder in spec.encoders or ("",):
            yield (f"{name} {encoder}".strip(), spec, {"encoder": encoder} if encoder else {})


class _FirstOutput(nn.Module):
    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image):  # type: ignore[no-untyped-def]
        answer = self.network(image)
        return answer[0] if isinstance(answer, tuple) else answer


def _ms(network: nn.Module, lines: int, width: int) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = onnx_bytes(_FirstOutput(network), lines, width, "answer")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).integers(0, 256, (1, 1, lines, width), np.uint8)
    times = []
    for _ in range(_ROUNDS + 1):
        started = time.perf_counter()
        session.run(None, {"image": image})
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times[1:])
