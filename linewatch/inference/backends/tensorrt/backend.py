"""TensorRT on an NVIDIA GPU: one plan per engine, cached on disk; one context and stream per worker."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from linewatch.config.base import Settings
from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import EngineManifest, Precision
from linewatch.inference.backends.tensorrt.build import BuildWatch
from linewatch.inference.backends.tensorrt.executor import TensorRtExecutor
from linewatch.inference.backends.tensorrt.gpu import find_gpu
from linewatch.inference.backends.tensorrt.library import import_library
from linewatch.inference.backends.tensorrt.network import parse
from linewatch.inference.backends.tensorrt.plans import Plan, PlanCache, PlanKey, rows_per_run


class TensorRtSettings(Settings):
    """What TensorRT adds to `[inference]`."""

    plan_dir: Annotated[Path, Field(strict=False)] = Field(
        default=Path("out/plans"), description="the plans that TensorRT builds of the engines"
    )
    plan_precision: Literal["fp32", "fp16"] = Field(
        default="fp32", description="what FP32 engines run in on TensorRT; engines of another precision keep theirs"
    )


class TensorRtBackend:
    """Backend `tensorrt`. Its constructor raises EngineError that names what is missing.

    fp32_as: the precision in which FP32 engines run; other engines run in their own precision.
    """

    name = "tensorrt"
    siblings: tuple[str, ...] = ()  # none has been run on a GPU yet; name one in [inference] to try it

    def __init__(self, plan_dir: Path, fp32_as: Literal["fp32", "fp16"] = "fp32", *, graphs: bool = True) -> None:
        self._library = import_library()
        self._gpu = find_gpu()
        self._plans = PlanCache(plan_dir, self._library, self._gpu)
        self._fp32_as, self._graphs = fp32_as, graphs
        self._opened: dict[str, str] = {}  # sha256 of a model -> sha256 of the plan that it was last opened with

    @classmethod
    def with_settings(cls, settings: TensorRtSettings) -> Self:
        """Open the backend as `[inference]` says."""
        return cls(settings.plan_dir, settings.plan_precision)

    def identity(self, manifest: EngineManifest) -> str:
        """Return it, with the plan once `open` has one: two plans of a model may round differently."""
        weights = f"{manifest.name}@{manifest.model.sha256[:12]}"
        runtime = f"{self._library.flavour}-{self._library.version}"
        plan = self._opened.get(manifest.model.sha256, "none")
        return f"{weights}/{runtime}/{self._precision(manifest)}/{self._gpu.slug}.plan-{plan[:12]}"

    def check(self, manifest: EngineManifest, model: bytes) -> None:
        parse(self._library, self._library.api.Builder(self._library.log), manifest, model)

    def ready(self, manifest: EngineManifest, ladder: Sequence[int]) -> bool:
        """Say whether `open` finds its plan on disk."""
        return self._plans.find(self._key(manifest, ladder)) is not None

    def prepare(
        self,
        manifest: EngineManifest,
        model: bytes,
        ladder: Sequence[int],
        watch: BuildWatch | None = None,
        stop: threading.Event | None = None,
    ) -> Plan:
        """Return the plan that `open` needs, built unless it is on disk: minutes. Raises EngineError."""
        key = self._key(manifest, ladder)
        return self._plans.find(key) or self._plans.make(key, manifest, model, watch, stop)

    def open(
        self, manifest: EngineManifest, model: bytes, ladder: Sequence[int], workers: int
    ) -> tuple[TensorRtExecutor, ...]:
        plan = self.prepare(manifest, model, ladder)
        engine = self._load(plan)
        if engine is None and plan.was_ready:  # undamaged, but it does not fit this GPU
            plan = self._plans.make(self._key(manifest, ladder), manifest, model)
            engine = self._load(plan)
        if engine is None:
            raise EngineError(
                f"engine {manifest.name}: {self._library.flavour} {self._library.version} cannot load its own plan on "
                f"{self._gpu.name}, compute capability {self._gpu.compute_capability} "
                f"({self._library.last_complaint or 'it gave no reason'}); expected a GPU that it supports; "
                "choose another inference.backend"
            )
        executors: list[TensorRtExecutor] = []
        try:
            for _ in range(workers):
                executors.append(TensorRtExecutor(self._library, engine, manifest, graph=self._graphs))
        except BaseException:
            for executor in executors:
                executor.close()
            raise
        self._opened[manifest.model.sha256] = plan.record.plan_sha256
        return tuple(executors)

    def _key(self, manifest: EngineManifest, ladder: Sequence[int]) -> PlanKey:
        return self._plans.key(manifest, self._precision(manifest), rows_per_run(manifest.task, ladder[-1]))

    def _precision(self, manifest: EngineManifest) -> Precision:
        return self._fp32_as if manifest.precision == "fp32" else manifest.precision

    def _load(self, plan: Plan) -> Any:
        self._library.complaints.clear()
        return self._library.api.Runtime(self._library.log).deserialize_cuda_engine(plan.data)
