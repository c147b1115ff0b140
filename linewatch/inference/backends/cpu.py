"""Runs each engine on the CPU runtime that is faster for its task: ONNX Runtime or OpenVINO.

The assignment is fixed and not measured at the start, since a restarted service must give the same bytes. It follows a
measurement on an x86 with VNNI (docs/results.md, INT8): ONNX Runtime is faster for the screen and not slower for the
classifier; OpenVINO is faster by a third for the segmenter.
"""

from collections.abc import Sequence

from linewatch.contracts.manifest import EngineManifest, Task
from linewatch.contracts.ports import Backend, Executor
from linewatch.inference.backends.onnxruntime import OnnxRuntimeBackend
from linewatch.inference.backends.openvino import OpenVinoBackend


class CpuBackend:
    """Backend `cpu`. An engine's identity names the runtime that runs it."""

    name = "cpu"

    def __init__(self) -> None:
        onnxruntime, openvino = OnnxRuntimeBackend(), OpenVinoBackend()
        self._by_task: dict[Task, Backend] = {
            Task.SCREEN: onnxruntime,
            Task.CLASSIFY: onnxruntime,
            Task.SEGMENT: openvino,
            Task.INSPECT: onnxruntime,
        }
        self.siblings = tuple(ending for ending in onnxruntime.siblings if ending in openvino.siblings)

    def identity(self, manifest: EngineManifest) -> str:
        return self._by_task[manifest.task].identity(manifest)

    def check(self, manifest: EngineManifest, model: bytes) -> None:
        self._by_task[manifest.task].check(manifest, model)

    def ready(self, manifest: EngineManifest, ladder: Sequence[int]) -> bool:
        return self._by_task[manifest.task].ready(manifest, ladder)

    def open(self, manifest: EngineManifest, model: bytes, ladder: Sequence[int], workers: int) -> tuple[Executor, ...]:
        return self._by_task[manifest.task].open(manifest, model, ladder, workers)
