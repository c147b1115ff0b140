"""Runs a plan for one worker: pinned buffers, a stream, an execution context, a CUDA graph."""

from typing import Any

import numpy as np

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import EngineManifest
from linewatch.inference.backends.tensorrt.gpu import CudaStream
from linewatch.inference.backends.tensorrt.library import Library


class TensorRtExecutor:
    """Executor of one loaded plan. Upload, compute and download of several workers overlap, each on its own stream.

    All rows of the plan are always run; results of padding rows are discarded. has_graph: a run is one launch of a CUDA
    graph instead of one launch per kernel.
    """

    def __init__(self, library: Library, engine: Any, manifest: EngineManifest, *, graph: bool) -> None:
        """Allocate the buffers and run once. Raises EngineError."""
        self._name, self._library = manifest.name, library
        self._stream = CudaStream()
        try:
            self._context = self._new_context(engine)
            self._bind(engine, manifest)
            self._begin()  # the first run of a context initialises: it cannot be recorded
            self._stream.wait()
            recorded = self._stream.record(self._begin) if graph and self._can_be_recorded() else None
        except BaseException:
            self._stream.close()
            raise
        self.has_graph = recorded is not None
        self._launch = recorded or self._begin

    def run(self, pixels: np.ndarray, rows: int, out: np.ndarray | None = None) -> np.ndarray:
        if self._context is None:
            raise EngineError(f"engine {self._name}: its executor is closed; open the engine again")
        shape, dtype = (rows, *self._to_host.shape[1:]), self._to_host.dtype
        output = np.empty(shape, dtype) if out is None else out[:rows]
        for first in range(0, rows, len(self._from_host)):
            count = min(len(self._from_host), rows - first)
            np.copyto(self._from_host[:count], pixels[first : first + count])
            try:
                self._launch()
                self._stream.wait()
            except EngineError as error:
                raise EngineError(f"engine {self._name}: {error}") from error
            output[first : first + count] = self._to_host[:count]
        return output

    def close(self) -> None:
        self._context = None
        self._stream.close()

    def _new_context(self, engine: Any) -> Any:
        """Return a context in memory allocated here, so that a lack of it shows now and a run allocates nothing."""
        self._library.complaints.clear()
        context = engine.create_execution_context(self._library.api.ExecutionContextAllocationStrategy.USER_MANAGED)
        if context is None:
            raise EngineError(
                f"engine {self._name}: {self._library.flavour} cannot make an execution context "
                f"({self._library.last_complaint or 'it gave no reason'}); expected enough free memory on the GPU; "
                "end other programs there, or lower inference.workers or inference.ladder"
            )
        if count_bytes := engine.device_memory_size_v2:
            context.set_device_memory(self._stream.device_memory(count_bytes), count_bytes)
        return context

    def _bind(self, engine: Any, manifest: EngineManifest) -> None:
        """Allocate every input and output on the GPU, and those that are used in pinned host memory, too."""
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            shape = tuple(engine.get_tensor_shape(name))
            dtype = np.dtype(self._library.api.nptype(engine.get_tensor_dtype(name)))
            if any(dim < 0 for dim in shape):
                raise EngineError(
                    f"engine {self._name}: {name} has the shape {shape} in its plan, expected a fixed one; "
                    "export the model again with fixed lines and width"
                )
            address = self._stream.device_memory(int(np.prod(shape)) * dtype.itemsize)
            self._context.set_tensor_address(name, address)
            if name == manifest.input.name:
                self._from_host, self._input_address = self._stream.pinned(shape, dtype), address
            elif name == manifest.output:
                self._to_host, self._output_address = self._stream.pinned(shape, dtype), address

    def _can_be_recorded(self) -> bool:
        ask = getattr(self._context, "is_stream_capturable", None)  # RTX alone knows plans that cannot be
        return ask is None or bool(ask(int(self._stream.handle)))

    def _begin(self) -> None:
        self._stream.upload(self._input_address, self._from_host)
        if not self._context.execute_async_v3(int(self._stream.handle)):
            raise EngineError(
                f"engine {self._name}: {self._library.flavour} did not start "
                f"({self._library.last_complaint or 'it gave no reason'}); see nvidia-smi, then restart the service"
            )
        self._stream.download(self._to_host, self._output_address)
