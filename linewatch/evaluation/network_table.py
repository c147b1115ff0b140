"""`linewatch networks`: every network with its size, and the time it takes on one thread of ONNX Runtime."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from pydantic import BaseModel, ConfigDict
from rich.table import Table
from torch import nn

from linewatch.export.engine_folder import onnx_bytes
from linewatch.networks.count import size_of
from linewatch.networks.registry import NETWORKS, NetworkCard
from linewatch.training.runs import device_name

MEASURED = Path("benchmarks/networks.json")
_ROUNDS = 5


class Measured(BaseModel):
    """Milliseconds a row by network (and variant), one thread, the median of five; and the machine it was on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str
    runtime: str
    ms: dict[str, float]


class Row(BaseModel):
    """A network, or a variant of one, as listed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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


def rows(measured: Measured | None) -> list[Row]:
    """All networks; `ms_per_row` where it has been measured."""
    found = []
    for name, card, options in _variants():
        size = size_of(card, **options)
        found.append(
            Row(
                name=name,
                task=card.task,
                lines=card.lines,
                width=card.width,
                parameters=size.parameters,
                keras_parameters=size.keras_parameters,
                gflop=round(size.gflop, 3),
                ms_per_row=measured.ms.get(name) if measured else None,
                paper=card.paper,
                recipe=card.recipe,
            )
        )
    return found


def measure() -> Measured:
    """Exports every network with random weights and times it; minutes, for the large ones."""
    ms = {}
    for name, card, options in _variants():
        network = card.build(**options).eval()
        ms[name] = round(_ms(network, card.lines, card.width), 2)
    return Measured(device=device_name().split(",")[0], runtime=f"onnxruntime {onnxruntime.__version__}", ms=ms)


def read_measured(path: Path = MEASURED) -> Measured | None:
    """What was measured before, if anything."""
    return Measured.model_validate_json(path.read_bytes()) if path.is_file() else None


def table(listed: list[Row], measured: Measured | None) -> Table:
    """For people."""
    told = "" if measured is None else f"ms: one thread of {measured.runtime} on {measured.device}"
    found = Table(title="networks", caption=told, title_justify="left", caption_justify="left")
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


def _variants() -> Iterator[tuple[str, NetworkCard, dict[str, Any]]]:
    for name, card in NETWORKS.items():
        for option in card.options or ("",):
            yield (f"{name} {option}".strip(), card, {"encoder": option} if option else {})


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
