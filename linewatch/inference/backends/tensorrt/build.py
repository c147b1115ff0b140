"""Builds a plan from ONNX: in seconds with TensorRT-RTX, without a GPU; in minutes with the full library, on a GPU."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import EngineManifest
from linewatch.inference.backends.tensorrt.first_cast import cast_first
from linewatch.inference.backends.tensorrt.half import to_half
from linewatch.inference.backends.tensorrt.library import Library
from linewatch.inference.backends.tensorrt.network import LayerPrecisions, fix_rows, layer_precisions, parse

WANTED_FLAGS = (
    "DISTRIBUTIVE_INDEPENDENCE",  # equal rows give equal bytes at any place in the batch
    "REQUIRE_USER_ALLOCATION",  # RTX: without it, runs cannot be recorded in a CUDA graph
)


class BuildWatch(Protocol):
    """Receives the progress of a build. Called from the building thread; phases nest."""

    def phase_started(self, phase: str, parent: str | None, steps: int) -> None: ...

    def step_done(self, phase: str, step: int) -> None: ...

    def phase_ended(self, phase: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Built:
    """A newly built plan: its bytes, the precisions of its layers, and how long the build took."""

    plan: bytes = field(repr=False)
    precisions: LayerPrecisions
    built_in_s: float


def build(
    library: Library,
    manifest: EngineManifest,
    model: bytes,
    *,
    precision: str,
    rows: int,
    watch: BuildWatch | None = None,
    stop: threading.Event | None = None,
) -> Built:
    """Build a plan that runs `rows` rows at once. Other Python threads continue meanwhile; `stop` ends the build early.

    precision: "fp32", "fp16", or "int8" for a model with Q/DQ nodes. Raises EngineError.
    """
    api, started_s = library.api, time.monotonic()
    library.complaints.clear()
    try:
        builder = api.Builder(library.log)
    except (RuntimeError, TypeError) as error:  # the full library without a driver
        raise _failed(library, manifest, f"its builder does not start: {error}") from error
    typed_model = to_half(manifest, model) if precision == "fp16" else model
    network, _parser = parse(library, builder, manifest, cast_first(typed_model))
    fix_rows(network, manifest, rows)
    precisions = layer_precisions(network)
    config = builder.create_builder_config()
    config.clear_flag(api.BuilderFlag.TF32)  # FP32 means FP32; lower precision must be requested as FP16
    for name in WANTED_FLAGS:
        if hasattr(api.BuilderFlag, name):  # not every flavour and version has them
            config.set_flag(getattr(api.BuilderFlag, name))
    config.profiling_verbosity = api.ProfilingVerbosity.DETAILED
    config.progress_monitor = _monitor(api, watch, stop)
    plan = builder.build_serialized_network(network, config)
    if stop is not None and stop.is_set():
        raise EngineError(f"engine {manifest.name}: its plan was not finished, the service is stopping; start it again")
    if plan is None:
        raise _failed(library, manifest, library.last_complaint or "it gave no plan and no reason")
    return Built(bytes(plan), precisions, time.monotonic() - started_s)


def _failed(library: Library, manifest: EngineManifest, why: str) -> EngineError:
    return EngineError(
        f"engine {manifest.name}: {library.flavour} {library.version} cannot build a plan ({why}); expected a GPU that "
        "it supports with enough free memory (TensorRT-RTX builds without one); see nvidia-smi, or choose another "
        "inference.backend"
    )


def _monitor(api: Any, watch: BuildWatch | None, stop: threading.Event | None) -> Any:
    class Monitor(api.IProgressMonitor):
        def __init__(self) -> None:
            api.IProgressMonitor.__init__(self)

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            if watch is not None:
                watch.phase_started(phase, parent, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            if watch is not None:
                watch.step_done(phase, step)
            return stop is None or not stop.is_set()

        def phase_finish(self, phase: str) -> None:
            if watch is not None:
                watch.phase_ended(phase)

    return Monitor()
