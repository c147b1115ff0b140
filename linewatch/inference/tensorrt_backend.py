"""The place of TensorRT: it checks what a GPU host must have. Building and running plans is a later issue."""

from collections.abc import Sequence
from importlib.util import find_spec

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import EngineManifest
from linewatch.contracts.ports import Executor

INSTEAD = 'or set inference.backend = "openvino"'


class TensorRtBackend:
    """Backend `tensorrt`. Its constructor raises EngineError, saying what is missing."""

    name = "tensorrt"

    def __init__(self) -> None:
        if find_spec("tensorrt") is None and find_spec("tensorrt_rtx") is None:
            raise EngineError(
                "backend tensorrt: the Python package tensorrt is not installed; on a host with an NVIDIA GPU install "
                f"linewatch[gpu] from NVIDIA's index, {INSTEAD}"
            )
        raise EngineError(
            "backend tensorrt: this version of linewatch cannot build TensorRT plans yet; wait for one that does, "
            f"{INSTEAD}"
        )

    def identity(self, manifest: EngineManifest) -> str:
        raise NotImplementedError

    def check(self, manifest: EngineManifest, model: bytes) -> None:
        raise NotImplementedError

    def open(self, manifest: EngineManifest, model: bytes, ladder: Sequence[int], workers: int) -> tuple[Executor, ...]:
        raise NotImplementedError
