"""ONNX Runtime on the CPU: one session per engine, run on the workers' own threads, row by row (see `openvino.py`)."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import EngineManifest
from linewatch.contracts.ports import Executor
from linewatch.inference.model_ports import ModelPort, check_fit, promised_output, unreadable
from linewatch.inference.processor import cpu_identity, supports_vnni

_OTHER_SHAPE = re.compile(r"has shape \{([\d,]*)\} but the computed output shape for this run is \{([\d,]*)\}")
_LONGEST_CAUSE = 400
DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(float16)": "float16"}


class OnnxRuntimeBackend:
    """Backend `onnxruntime`."""

    name = "onnxruntime"

    def __init__(self) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineError(
                f"ONNX Runtime cannot be imported ({error}), and the backends onnxruntime and cpu run on it; install "
                "linewatch's pinned requirements, or 'linewatch[openvino]' and set inference.backend = \"openvino\""
            ) from error
        self._ort = onnxruntime
        self._providers: list[Any] = ["CPUExecutionProvider"]
        # Signed activations run slower than FP32: docs/results.md, INT8.
        self.siblings: tuple[str, ...] = ("uint8",) if supports_vnni() else ()

    def identity(self, manifest: EngineManifest) -> str:
        return cpu_identity(manifest, f"onnxruntime-{self._ort.__version__}")

    def check(self, manifest: EngineManifest, model: bytes) -> None:
        self._session(manifest, model)

    def ready(self, manifest: EngineManifest, ladder: Sequence[int]) -> bool:
        return True

    def open(self, manifest: EngineManifest, model: bytes, ladder: Sequence[int], workers: int) -> tuple[Executor, ...]:
        session = self._session(manifest, model)  # several threads may run it at once
        element = {"uint8": np.uint8, "float32": np.float32}[promised_output(manifest).dtype]
        return tuple(_OnnxRuntimeExecutor(session, manifest, element) for _ in range(workers))

    def _session(self, manifest: EngineManifest, model: bytes) -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = 1  # only the calling thread
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = 4  # none: its errors are raised, and one a frame would fill the log
        try:
            session = self._ort.InferenceSession(model, options, providers=self._providers)
        except Exception as error:  # its exceptions have no public base
            raise unreadable(manifest, error) from error
        check_fit(manifest, [_port(p) for p in session.get_inputs()], [_port(p) for p in session.get_outputs()])
        return session


class _OnnxRuntimeExecutor:
    def __init__(self, session: Any, manifest: EngineManifest, element: type) -> None:
        self._session = session
        self._name = manifest.name
        self._input, self._output = manifest.input.name, manifest.output
        self._row_shape = tuple(dim or 0 for dim in promised_output(manifest).dims[1:])  # without the rows
        self._element = element

    def run(self, pixels: np.ndarray, rows: int, out: np.ndarray | None = None) -> np.ndarray:
        if out is None:
            out = np.empty((rows, *self._row_shape), self._element)
        try:
            for row in range(rows):
                binding = self._session.io_binding()
                binding.bind_cpu_input(self._input, pixels[row : row + 1])
                address = out[row : row + 1].ctypes.data
                binding.bind_output(self._output, "cpu", 0, self._element, (1, *self._row_shape), address)
                self._session.run_with_iobinding(binding)
        except Exception as error:
            raise EngineError(f"engine {self._name}: {_cause(error)}") from error
        return out[:rows]

    def close(self) -> None:
        self._session = None


def _cause(error: Exception) -> str:
    """Return why a run failed, on one line. A wrong number of rows is the exporter's mistake, and is named as such."""
    shapes = _OTHER_SHAPE.search(str(error))
    if shapes is not None:
        wanted, found = shapes.groups()
        return (
            f"gave an output of shape ({found}) for 1 tile, expected ({wanted}); export it so that each tile of a "
            "batch has one row in the output"
        )
    return f"ONNX Runtime failed: {' '.join(str(error).split())[:_LONGEST_CAUSE]}"


def _port(port: Any) -> ModelPort:
    dims = tuple(d if isinstance(d, int) else None for d in port.shape)
    return ModelPort(port.name, DTYPES.get(port.type, port.type), dims)
