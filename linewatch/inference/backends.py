"""The backends by their name in `inference.backend`. A runtime is imported when it is asked for."""

from linewatch.contracts.errors import EngineError
from linewatch.contracts.ports import Backend

NAMES = ("openvino", "onnxruntime", "tensorrt")


def open_backend(name: str) -> Backend:
    """The backend of that name. Raises EngineError when it is unknown, or when its runtime or device is missing."""
    match name:
        case "openvino":
            from linewatch.inference.openvino_backend import OpenVinoBackend

            return OpenVinoBackend()
        case "onnxruntime":
            from linewatch.inference.onnxruntime_backend import OnnxRuntimeBackend

            return OnnxRuntimeBackend()
        case "tensorrt":
            from linewatch.inference.tensorrt_backend import TensorRtBackend

            return TensorRtBackend()
    raise EngineError(f"inference.backend is {name!r}, expected one of {', '.join(NAMES)}")
