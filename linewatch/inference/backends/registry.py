"""The backends that `[inference] backend` can name. A runtime is imported only when its backend is opened."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from linewatch.contracts.errors import EngineError
from linewatch.contracts.ports import Backend
from linewatch.inference.backends.cpu import CpuBackend
from linewatch.inference.backends.onnxruntime import OnnxRuntimeBackend
from linewatch.inference.backends.onnxruntime_cuda import OnnxRuntimeCudaBackend
from linewatch.inference.backends.openvino import OpenVinoBackend
from linewatch.inference.backends.tensorrt.backend import TensorRtBackend, TensorRtSettings


class BackendSettings(TensorRtSettings):
    """The keys that backends add to `[inference]`. A backend with settings of its own is a base of this class."""


@dataclass(frozen=True, slots=True)
class BackendKind:
    """How a backend is opened. `stands_in`: `[inference] fallback` may name it, since it is ready at once anywhere."""

    open: Callable[[BackendSettings], Backend]
    stands_in: bool = False


BACKENDS: Mapping[str, BackendKind] = MappingProxyType(
    {
        CpuBackend.name: BackendKind(lambda _: CpuBackend(), stands_in=True),
        OpenVinoBackend.name: BackendKind(lambda _: OpenVinoBackend(), stands_in=True),
        OnnxRuntimeBackend.name: BackendKind(lambda _: OnnxRuntimeBackend(), stands_in=True),
        OnnxRuntimeCudaBackend.name: BackendKind(lambda _: OnnxRuntimeCudaBackend()),
        TensorRtBackend.name: BackendKind(TensorRtBackend.with_settings),
    }
)


def open_backend(name: str, settings: BackendSettings | None = None) -> Backend:
    """Return the backend of that name, set up as `settings` say (default: their defaults).

    Raises EngineError when it is unknown, or when its runtime or device is missing.
    """
    if name not in BACKENDS:
        raise EngineError(f"inference.backend: found {name!r}, expected one of {', '.join(BACKENDS)}; name one of them")
    return BACKENDS[name].open(settings or BackendSettings())


def open_backends(
    names: Iterable[str], settings: BackendSettings
) -> tuple[tuple[Backend, ...], tuple[EngineError, ...]]:
    """Return the backends of these names that can be opened, in order, and why the others cannot.

    Raises EngineError, the first one, when none can.
    """
    opened: list[Backend] = []
    errors: list[EngineError] = []
    for name in dict.fromkeys(names):
        try:
            opened.append(open_backend(name, settings))
        except EngineError as error:
            errors.append(error)
    if not opened:
        raise errors[0]
    return tuple(opened), tuple(errors)
