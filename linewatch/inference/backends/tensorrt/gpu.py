"""The GPU through NVIDIA's cuda-bindings: its name, memory, streams and graphs, and errors with a remedy.

Why not pycuda: docs/decisions/0012-cuda-bindings.md.
"""

import ctypes
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from linewatch.contracts.errors import EngineError
from linewatch.inference.backends.tensorrt.library import INSTEAD

DEVICE = 0
KERNEL_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, slots=True)
class Gpu:
    """The GPU that engines run on."""

    name: str
    compute_capability: str  # "9.0"
    driver: str
    memory_mb: int

    @property
    def slug(self) -> str:
        """The GPU in an engine's identity: `nvidia-h200.sm90.580.159.04`."""
        name = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")
        return f"{name}.sm{self.compute_capability.replace('.', '')}.{self.driver}"


def cuda_runtime() -> Any:
    """Return the module `cuda.bindings.runtime`. Raises EngineError when it is not installed."""
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise EngineError(
            f"backend tensorrt: the Python package cuda-bindings cannot be imported ({error}); install linewatch[gpu], "
            f"{INSTEAD}"
        ) from error
    return runtime


def find_gpu() -> Gpu:
    """Return the first GPU. Raises EngineError when there is none, or its driver is missing or too old."""
    cuda = cuda_runtime()
    status, count = cuda.cudaGetDeviceCount()
    if status != cuda.cudaError_t.cudaSuccess or not count:
        wanted = _version(_checked(cuda, cuda.cudaRuntimeGetVersion(), "ask for the CUDA version"))
        raise EngineError(
            f"backend tensorrt: found no NVIDIA GPU ({_words(cuda, status)}; driver {_driver(cuda)}), expected one "
            f"with a driver for CUDA {wanted} or later; install the driver and see that nvidia-smi lists the GPU, "
            f"{INSTEAD}"
        )
    about = _checked(cuda, cuda.cudaGetDeviceProperties(DEVICE), "ask for the GPU's properties")
    return Gpu(
        name=about.name.split(b"\0")[0].decode(),
        compute_capability=f"{about.major}.{about.minor}",
        driver=_driver(cuda),
        memory_mb=about.totalGlobalMem // 1_000_000,
    )


class CudaStream:
    """A stream and the memory that its work uses, all released by `close`, which works even when the GPU is lost."""

    def __init__(self) -> None:
        self._cuda = cuda_runtime()
        self._owned = ExitStack()
        _checked(self._cuda, self._cuda.cudaSetDevice(DEVICE), "select the GPU")
        flags = self._cuda.cudaStreamNonBlocking
        self.handle = _checked(self._cuda, self._cuda.cudaStreamCreateWithFlags(flags), "create a stream")
        self._owned.callback(self._cuda.cudaStreamDestroy, self.handle)

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return a zeroed array in pinned host memory, which the GPU copies from and to by DMA."""
        count = int(np.prod(shape)) * dtype.itemsize
        doing = f"pin {count / 1e6:.1f} MB of host memory"
        address = int(_checked(self._cuda, self._cuda.cudaHostAlloc(count, self._cuda.cudaHostAllocDefault), doing))
        self._owned.callback(self._cuda.cudaFreeHost, address)
        array = np.ctypeslib.as_array((ctypes.c_uint8 * count).from_address(address)).view(dtype).reshape(shape)
        array[...] = 0
        return array

    def device_memory(self, count_bytes: int) -> int:
        """Allocate that many bytes on the GPU and return their address. Raises EngineError when they are not free."""
        doing = f"allocate {count_bytes / 1e6:.1f} MB on the GPU"
        address = int(_checked(self._cuda, self._cuda.cudaMalloc(count_bytes), doing))
        self._owned.callback(self._cuda.cudaFree, address)
        return address

    def upload(self, to: int, array: np.ndarray) -> None:
        """Start copying a pinned array to the GPU."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        begun = self._cuda.cudaMemcpyAsync(to, array.ctypes.data, array.nbytes, kind, self.handle)
        _checked(self._cuda, begun, "copy to the GPU")

    def download(self, array: np.ndarray, source: int) -> None:
        """Start copying from the GPU into a pinned array."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        begun = self._cuda.cudaMemcpyAsync(array.ctypes.data, source, array.nbytes, kind, self.handle)
        _checked(self._cuda, begun, "copy from the GPU")

    def wait(self) -> None:
        """Wait until all started work is done; other Python threads continue. Raises EngineError if it failed."""
        _checked(self._cuda, self._cuda.cudaStreamSynchronize(self.handle), "run")

    def record(self, work: Callable[[], None]) -> Callable[[], None] | None:
        """Record what `work` starts on this stream as a CUDA graph; return a call that launches it, or None."""
        cuda = self._cuda
        mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal  # other threads may allocate meanwhile
        _checked(cuda, cuda.cudaStreamBeginCapture(self.handle, mode), "begin a CUDA graph")
        try:
            work()
        except EngineError:
            cuda.cudaStreamEndCapture(self.handle)
            cuda.cudaGetLastError()  # clear the error: the stream is unchanged
            return None
        status, graph = cuda.cudaStreamEndCapture(self.handle)
        if status != cuda.cudaError_t.cudaSuccess:
            cuda.cudaGetLastError()
            return None
        self._owned.callback(cuda.cudaGraphDestroy, graph)
        runnable = _checked(cuda, cuda.cudaGraphInstantiate(graph, 0), "instantiate a CUDA graph")
        self._owned.callback(cuda.cudaGraphExecDestroy, runnable)
        return lambda: _checked(cuda, cuda.cudaGraphLaunch(runnable, self.handle), "launch a CUDA graph")

    def close(self) -> None:
        """Release everything, whatever the state of the GPU."""
        self._owned.close()


def _checked(cuda: Any, result: tuple[Any, ...], doing: str) -> Any:
    """Return the value of a call that returned (status, value...). Raises EngineError with a remedy for the failure."""
    status, *values = result
    if status == cuda.cudaError_t.cudaSuccess:
        return values[0] if values else None
    cuda.cudaGetLastError()  # or the next call would report it again
    errors = cuda.cudaError_t
    if status == errors.cudaErrorMemoryAllocation:
        free = cuda.cudaMemGetInfo()
        room = f"{free[1] / 1e6:.0f} MB of {free[2] / 1e6:.0f} MB are free on the GPU" if len(free) == 3 else "no room"
        raise EngineError(
            f"backend tensorrt: out of memory: cannot {doing}, {room}; end other programs on the GPU, or lower "
            f"inference.workers or inference.ladder, {INSTEAD}"
        )
    if status in {errors.cudaErrorNoDevice, errors.cudaErrorInsufficientDriver, errors.cudaErrorInvalidDevice}:
        raise EngineError(
            f"backend tensorrt: cannot {doing}: found {_words(cuda, status)}, expected an NVIDIA GPU and its driver; "
            f"see that nvidia-smi lists it, {INSTEAD}"
        )
    raise EngineError(
        f"backend tensorrt: cannot {doing}: {_words(cuda, status)}; expected a healthy GPU; see nvidia-smi and the "
        f"kernel's log for Xid errors, then restart the service, {INSTEAD}"
    )


def _words(cuda: Any, status: Any) -> str:
    return f"{status.name}: {cuda.cudaGetErrorString(status)[1].decode()}"


def _driver(cuda: Any) -> str:
    """Return the kernel driver's version, or if that is unknown the driver's CUDA version; `none` without a driver."""
    try:
        found = re.search(r"(\d+\.\d+(\.\d+)?)", KERNEL_DRIVER.read_text())
    except OSError:
        found = None
    if found:
        return found[1]
    status, version = cuda.cudaDriverGetVersion()
    return f"cuda-{_version(version)}" if status == cuda.cudaError_t.cudaSuccess and version else "none"


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
