"""Which TensorRT is here: the full library or TensorRT-RTX. Both speak one Python API."""

import importlib
from collections import deque
from dataclasses import dataclass
from functools import cache
from typing import Any

from linewatch.contracts.errors import EngineError

FLAVOURS = {  # by module, in order of preference
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "tensorrt-rtx",
    "tensorrt_rtx_bindings": "tensorrt-rtx",  # RTX's bindings alone, as on a host without an index
}
OLDEST = (10, 16)  # of the full library
INSTEAD = 'or set inference.backend = "onnxruntime"'


@dataclass(frozen=True, slots=True)
class Library:
    """An imported TensorRT. `complaints`: the last warnings and errors that it logged."""

    api: Any
    flavour: str  # "tensorrt" | "tensorrt-rtx"
    version: str
    log: Any
    complaints: deque[str]

    @property
    def last_complaint(self) -> str:
        """One line that says why it refused; empty when it said nothing."""
        return self.complaints[-1].strip().partition("\n")[0] if self.complaints else ""


@cache
def import_library() -> Library:
    """The TensorRT of this host: the full library where it is, else TensorRT-RTX. Raises EngineError without one."""
    found = []
    for module, flavour in FLAVOURS.items():
        try:
            api = importlib.import_module(module)
        except (ImportError, OSError, RuntimeError) as error:  # a stub or a wheel without its libraries raises any
            if not (isinstance(error, ModuleNotFoundError) and error.name == module):
                found.append(f"{module} cannot be imported: {error}")
            continue
        if flavour == "tensorrt" and tuple(map(int, api.__version__.split(".")[:2])) < OLDEST:
            found.append(f"{module} is {api.__version__}, expected {OLDEST[0]}.{OLDEST[1]} or later")
            continue
        complaints: deque[str] = deque(maxlen=16)
        return Library(api, flavour, api.__version__, _log(api, complaints), complaints)
    raise EngineError(
        f"backend tensorrt: {'; '.join(found) or 'neither of the packages tensorrt and tensorrt_rtx is installed'}; "
        f"on a host with an NVIDIA GPU install linewatch[gpu], {INSTEAD}"
    )


def _log(api: Any, complaints: deque[str]) -> Any:
    """TensorRT wants one logger for everything; ours keeps what goes into an EngineError, and prints nothing."""

    class Log(api.ILogger):
        def __init__(self) -> None:
            api.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in {api.ILogger.INTERNAL_ERROR, api.ILogger.ERROR}:
                complaints.append(message)

    return Log()
