"""OpenVINO on the CPU: one compiled model of one thread per engine and worker, row by row.

The rows of a batch run one by one: on one thread a row in a batch costs as much as alone or more (see
`benchmarks/backends.py`), a partly filled batch costs only its filled rows, and a row's bytes cannot depend on its
neighbours.
"""

import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import EngineManifest
from linewatch.contracts.ports import Executor
from linewatch.inference.model_ports import ModelPort, check_fit, unreadable
from linewatch.inference.processor import cpu_identity, supports_vnni


class OpenVinoBackend:
    """Backend `openvino`."""

    name = "openvino"

    def __init__(self) -> None:
        self._ov = _import_openvino()
        self._core = shared_core()
        self.siblings: tuple[str, ...] = ("uint8", "int8") if supports_vnni() else ()

    def identity(self, manifest: EngineManifest) -> str:
        return cpu_identity(manifest, f"openvino-{self._ov.__version__.partition('-')[0]}")

    def check(self, manifest: EngineManifest, model: bytes) -> None:
        self._read(manifest, model)

    def ready(self, manifest: EngineManifest, ladder: Sequence[int]) -> bool:
        return True

    def open(self, manifest: EngineManifest, model: bytes, ladder: Sequence[int], workers: int) -> tuple[Executor, ...]:
        graph = self._read(manifest, model)
        settings = {
            # Rows run on the calling thread: on OpenVINO's own streams each run would wait for two wake-ups.
            "NUM_STREAMS": 0,
            "ENABLE_CPU_PINNING": False,  # other services share the machine
            "INFERENCE_PRECISION_HINT": "f32",  # never bf16, even on a CPU that has it
        }
        try:
            graph.reshape([1, 1, manifest.input.lines, manifest.input.width])
            compiled = [self._core.compile_model(graph, "CPU", settings) for _ in range(workers)]
            return tuple(_OpenVinoExecutor(self._ov, one.create_infer_request(), manifest) for one in compiled)
        except RuntimeError as error:
            raise unreadable(manifest, error) from error

    def _read(self, manifest: EngineManifest, model: bytes) -> Any:
        try:
            graph = self._core.read_model(model)
        except RuntimeError as error:
            raise unreadable(manifest, error) from error
        check_fit(manifest, [_port(p) for p in graph.inputs], [_port(p) for p in graph.outputs])
        return graph


class _OpenVinoExecutor:
    def __init__(self, ov: Any, request: Any, manifest: EngineManifest) -> None:
        self._ov = ov
        self._request = request
        self._name = manifest.name
        self._output = manifest.output
        # The row is copied, 0.02 ms a frame: a frame's pixels are read-only, and OpenVINO refuses read-only memory.
        self._input = request.get_tensor(manifest.input.name).data
        shape = request.get_tensor(manifest.output).data
        self._row_shape, self._dtype = shape.shape[1:], shape.dtype

    def run(self, pixels: np.ndarray, rows: int, out: np.ndarray | None = None) -> np.ndarray:
        output = np.empty((rows, *self._row_shape), self._dtype) if out is None else out[:rows]
        try:
            for row in range(rows):
                np.copyto(self._input, pixels[row : row + 1])
                self._request.set_tensor(self._output, self._ov.Tensor(output[row : row + 1], shared_memory=True))
                self._request.infer(share_outputs=True)  # or it would copy them for the caller
        except RuntimeError as error:
            raise EngineError(f"engine {self._name}: OpenVINO failed: {error}") from error
        return output

    def close(self) -> None:
        self._request = None


def _port(port: Any) -> ModelPort:
    dims = tuple(None if d.is_dynamic else d.get_length() for d in port.partial_shape)
    names = port.get_names()
    return ModelPort(min(names) if names else "?", str(port.element_type.to_dtype()), dims)


@cache
def shared_core() -> Any:
    """Return the only `openvino.Core` of this process; do not create another.

    A Core's CPU plugin sets an alternate signal stack for the thread that loads it, and unmaps it when the Core is
    destroyed. If Cores are not destroyed in reverse order of their creation, or in another thread, the thread is left
    with an unmapped signal stack, and its next signal (SIGCHLD, SIGTERM) kills the process (OpenVINO 2026.4).
    """
    return _import_openvino().Core()


def _import_openvino() -> Any:
    """Import OpenVINO without its telemetry package, which would send usage data; its own stub takes the place."""
    hide = "openvino_telemetry" not in sys.modules
    if hide:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError as error:
        raise EngineError(
            f"OpenVINO cannot be imported ({error}), and the backends openvino and cpu run on it; "
            "pip install 'linewatch[openvino]', or set inference.backend = \"onnxruntime\""
        ) from error
    finally:
        if hide:
            del sys.modules["openvino_telemetry"]
    return openvino
