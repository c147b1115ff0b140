"""Both CPU runtimes, each for the engines that it runs faster.

Which one is a fixed rule, not a measurement at the start: a service that is started again must be the same, bit for
bit. It was measured on an x86 with VNNI (docs/results.md, INT8): ONNX Runtime for the screen, as fast as
OpenVINO or faster for the classifier, OpenVINO by a third for the segmenter.
"""

from collections.abc import Sequence

from linewatch.contracts.manifest import EngineManifest, Task
from linewatch.contracts.ports import Backend, Executor
from linewatch.inference.backends.onnxruntime import OnnxRuntimeBackend
from linewatch.inference.backends.openvino import OpenVinoBackend


class CpuBackend:
    """Backend `cpu`. An engine's identity names the runtime that it runs on."""

    name = "cpu"

    def __init__(self) -> None:
        onnxruntime, openvino = OnnxRuntimeBackend(), OpenVinoBackend()
        self._of: dict[Task, Backend] = {
            Task.SCREEN: onnxruntime,
            Task.CLASSIFY: onnxruntime,
            Task.SEGMENT: openvino,
        }
        self.siblings = tuple(ending for ending in onnxruntime.siblings if ending in openvino.siblings)

    def identity(self, manifest: EngineManifest) -> str:
        return self._of[manifest.task].identity(manifest)

    def check(self, manifest: EngineManifest, model: bytes) -> None:
        self._of[manifest.task].check(manifest, model)

    def ready(self, manifest: EngineManifest, ladder: Sequence[int]) -> bool:
        return self._of[manifest.task].ready(manifest, ladder)

    def open(self, manifest: EngineManifest, model: bytes, ladder: Sequence[int], workers: int) -> tuple[Executor, ...]:
        return self._of[manifest.task].open(manifest, model, ladder, workers)
