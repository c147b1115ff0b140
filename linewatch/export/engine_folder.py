"""Writing of an engine folder from a fitted network: `model.onnx`, `manifest.json`, `reference.npz`, `CARD.md`.

The model is first checked against torch on ONNX Runtime and OpenVINO; an incomplete model never lies under the engine's
name.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import MANIFEST, OUTPUT_OF, EngineManifest, InputSpec, ModelFile, Task, TrainingRecord
from linewatch.inference.backends.openvino import shared_core
from linewatch.inference.reference_tiles import write_reference_tiles

MAX_MODEL_BYTES = 20_000_000
_PROBABILITY_TOLERANCE = 2e-3


@dataclass(frozen=True)
class EngineFacts:
    """The manifest's contents, except for the model file."""

    name: str
    version: str
    task: Task
    nominal_mm_per_px: float
    normalisation: str
    thresholds: dict[str, float]
    training: TrainingRecord
    metrics: dict[str, float]
    terms: str
    classes: tuple[str, ...] = ()
    cell_px: int | None = None


def export_engine(
    shipped: nn.Module,
    facts: EngineFacts,
    card: str,
    examples: NDArray[np.uint8],
    folder: Path,
    most_bytes: int | None = MAX_MODEL_BYTES,
) -> EngineManifest:
    """Write the engine folder and return its manifest.

    shipped: takes uint8 (n, 1, lines, width) and returns the task's one output. examples: real tiles for the parity
    check, uint8 (n >= 2, 1, lines, width). `EngineError` if a runtime disagrees with torch or the file is over
    `most_bytes`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    output = OUTPUT_OF[facts.task]
    draft = folder / "model.onnx.part"
    try:
        write_onnx(shipped, examples, output, draft)
        size = draft.stat().st_size
        if most_bytes is not None and size > most_bytes:
            raise EngineError(
                f"{folder.name}: the model is {size / 1e6:.1f} MB, expected at most {most_bytes / 1e6:.0f}; "
                "use a smaller encoder"
            )
        check_parity(shipped, draft, examples)
        draft.replace(folder / "model.onnx")
    finally:
        draft.unlink(missing_ok=True)
    manifest = EngineManifest(
        name=facts.name,
        version=facts.version,
        task=facts.task,
        model=ModelFile(sha256=hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()),
        input=InputSpec(lines=examples.shape[2], width=examples.shape[3], nominal_mm_per_px=facts.nominal_mm_per_px),
        output=output,
        cell_px=facts.cell_px,
        classes=facts.classes,
        thresholds={name: round(value, 4) for name, value in facts.thresholds.items()},
        precision="fp32",
        normalisation=facts.normalisation,
        training=facts.training,
        metrics={name: round(value, 4) for name, value in facts.metrics.items()},
        terms=facts.terms,
    )
    (folder / MANIFEST).write_text(manifest.text())
    try:
        manifest = write_reference_tiles(folder)
    except EngineError:
        (folder / MANIFEST).unlink()  # without one it is no engine
        raise
    (folder / "CARD.md").write_text(card)
    return manifest


def write_onnx(shipped: nn.Module, examples: NDArray[np.uint8], output: str, path: Path) -> None:
    """Export with the input `image` and a free batch size; the graph is checked and holds no paths of this machine."""
    shipped = shipped.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            shipped,
            (torch.from_numpy(examples[:2]),),
            dynamo=True,
            input_names=["image"],
            output_names=[output],
            dynamic_shapes=({0: torch.export.Dim("n", min=1, max=4096)},),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def onnx_bytes(shipped: nn.Module, lines: int, width: int, output: str) -> bytes:
    """Return the ONNX graph of a network in its shipped form, without a parity check."""
    image = np.random.default_rng(0).integers(0, 256, (2, 1, lines, width), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(shipped, image, output, path)
        return path.read_bytes()


def check_parity(shipped: nn.Module, path: Path, examples: NDArray[np.uint8]) -> None:
    """Raise `EngineError` if ONNX Runtime or OpenVINO differs from torch by more than 0.002, or one step of a uint8."""
    with torch.inference_mode():
        expected = shipped(torch.from_numpy(examples)).numpy()
    name, data = str(path), path.read_bytes()
    onnx_answer = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"image": examples})[
        0
    ]
    core = shared_core()
    openvino_answer = core.compile_model(core.read_model(data, b""), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(
        examples
    )[0]
    tolerance = 1 if expected.dtype == np.uint8 else _PROBABILITY_TOLERANCE
    for runtime, answer in (("ONNX Runtime", onnx_answer), ("OpenVINO", openvino_answer)):
        if answer.shape != expected.shape or answer.dtype != expected.dtype:
            raise EngineError(
                f"{name}: {runtime} gives {answer.dtype} {answer.shape}, expected {expected.dtype} {expected.shape}; "
                "correct the export"
            )
        worst = np.abs(answer.astype(np.float64) - expected.astype(np.float64)).max()
        if worst > tolerance:
            raise EngineError(
                f"{name}: {runtime} differs from torch by {worst:.4g}, expected at most {tolerance}; correct the export"
            )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; floats have three decimals."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in line) + " |"
        for line in lines
    )
