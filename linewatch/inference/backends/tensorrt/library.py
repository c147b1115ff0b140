"""Imports the TensorRT of this host: the full library or TensorRT-RTX, which have the same Python API."""

import importlib
from collections import deque
from dataclasses import dataclass
from functools import cache
from typing import Any

from linewatch.contracts.errors import EngineError

FLAVOURS = {  # by module, in order of preference
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "tensorrt-rtx",
    "tensorrt_rtx_bindings": "tensorrt-rtx",  # RTX's bindings without its meta-package
}
OLDEST = (10, 16)  # of the full library
INSTEAD = 'or set inference.backend = "onnxruntime"'


@dataclass(frozen=True, slots=True)
class Library:
    """An imported TensorRT. `complaints`: the last errors that it logged."""

    api: Any
    flavour: str  # "tensorrt" | "tensorrt-rtx"
    version: str
    log: Any
    complaints: deque[str]

    @property
    def last_complaint(self) -> str:
        """The first line of the last error that it logged; empty without one."""
        return self.complaints[-1].strip().partition("\n")[0] if self.complaints else ""


@cache
def import_library() -> Library:
    """Import the full library, or TensorRT-RTX where that is missing. Raises EngineError without either."""
    found = []
    for module, flavour in FLAVOURS.items():
        try:
            api = importlib.import_module(module)
        except (
            ImportError,
            OSError,
            RuntimeError,
        ) as error:  # a stub or a wheel without its libraries raises any of these
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
    """Return a logger that keeps errors for an EngineError and prints nothing; TensorRT uses one for everything."""

    class Log(api.ILogger):
        def __init__(self) -> None:
            api.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in {api.ILogger.INTERNAL_ERROR, api.ILogger.ERROR}:
                complaints.append(message)

    return Log()
