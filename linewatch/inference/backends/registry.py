"""The backends by their name in `inference.backend`. A runtime is imported when it is asked for."""

from linewatch.config.inference import InferenceSettings
from linewatch.contracts.errors import EngineError
from linewatch.contracts.ports import Backend

NAMES = ("cpu", "openvino", "onnxruntime", "onnxruntime-cuda", "tensorrt")


def open_backend(name: str, settings: InferenceSettings | None = None) -> Backend:
    """The backend of that name, set up as `settings` say (default: their defaults).

    Raises EngineError when it is unknown, or when its runtime or device is missing.
    """
    settings = settings or InferenceSettings()
    match name:
        case "cpu":
            from linewatch.inference.backends.cpu import CpuBackend

            return CpuBackend()
        case "openvino":
            from linewatch.inference.backends.openvino import OpenVinoBackend

            return OpenVinoBackend()
        case "onnxruntime":
            from linewatch.inference.backends.onnxruntime import OnnxRuntimeBackend

            return OnnxRuntimeBackend()
        case "onnxruntime-cuda":
            from linewatch.inference.backends.onnxruntime_cuda import OnnxRuntimeCudaBackend

            return OnnxRuntimeCudaBackend()
        case "tensorrt":
            from linewatch.inference.backends.tensorrt.backend import TensorRtBackend

            return TensorRtBackend(settings.plan_dir, settings.plan_precision)
    raise EngineError(f"inference.backend is {name!r}, expected one of {', '.join(NAMES)}")


def open_backends(settings: InferenceSettings) -> tuple[tuple[Backend, ...], tuple[EngineError, ...]]:
    """The configured backend and those that may serve in its place, in order; and why others cannot be opened.

    Raises EngineError, the first one, when none can.
    """
    opened: list[Backend] = []
    errors: list[EngineError] = []
    for name in dict.fromkeys((settings.backend, *settings.fallback)):
        try:
            opened.append(open_backend(name, settings))
        except EngineError as error:
            errors.append(error)
    if not opened:
        raise errors[0]
    return tuple(opened), tuple(errors)
