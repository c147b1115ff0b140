"""The cache of plans on disk: one per model, precision, batch shape, GPU, driver and TensorRT; rebuilt when in doubt.

A plan is two files: `NAME-PRECISION-KEY.plan`, as TensorRT wrote it, and a JSON record beside it. The record is written
last, so a plan without a matching record was interrupted. A plan is code that runs on the GPU: only the service may be
able to write to the folder.
"""

import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from linewatch.contracts.closed import ClosedModel
from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import EngineManifest, Precision, Task
from linewatch.files import write_file
from linewatch.inference.backends.tensorrt.build import BuildWatch, build
from linewatch.inference.backends.tensorrt.gpu import Gpu
from linewatch.inference.backends.tensorrt.library import Library
from linewatch.inference.backends.tensorrt.network import LayerPrecisions

RECIPE = 1  # increase it when `build` or `half` change the plan of the same model


class PlanKey(ClosedModel):
    """Everything that a plan depends on; another value in any field means another plan."""

    engine: str
    model_sha256: str
    precision: Precision
    rows: int
    recipe: int = RECIPE
    gpu: str | None  # None: built without one
    compute_capability: str | None
    driver: str | None
    library: str
    library_version: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class PlanRecord(ClosedModel):
    """The JSON record beside a plan."""

    key: PlanKey
    plan_sha256: str
    built_in_s: float
    precisions: LayerPrecisions


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan and its record. was_ready: it came from the cache."""

    path: Path
    record: PlanRecord
    was_ready: bool
    data: bytes = field(repr=False)


def rows_per_run(task: Task, largest_rung: int) -> int:
    """Return the rows that a plan always computes at once: 1 for a screen or an inspect engine, which take whole
    frames, else the ladder's largest rung.

    It is one number instead of one per rung, since a row's bytes must not depend on the fill of its batch
    (docs/decisions/0013-one-batch-shape-per-plan.md).
    """
    return 1 if task in {Task.SCREEN, Task.INSPECT} else largest_rung


@dataclass(frozen=True)
class PlanCache:
    """The plans in `folder` of one TensorRT and one GPU. Safe to use from several threads and processes."""

    folder: Path
    library: Library
    gpu: Gpu | None  # None: for TensorRT-RTX, which builds without one

    def key(self, manifest: EngineManifest, precision: Precision, rows: int) -> PlanKey:
        return PlanKey(
            engine=manifest.name,
            model_sha256=manifest.model.sha256,
            precision=precision,
            rows=rows,
            gpu=self.gpu.name if self.gpu else None,
            compute_capability=self.gpu.compute_capability if self.gpu else None,
            driver=self.gpu.driver if self.gpu else None,
            library=self.library.flavour,
            library_version=self.library.version,
        )

    def path(self, key: PlanKey) -> Path:
        return self.folder / f"{key.engine}-{key.precision}-{key.sha256[:16]}.plan"

    def find(self, key: PlanKey) -> Plan | None:
        """Return the plan with that key; None when there is none, or it or its record is damaged."""
        path = self.path(key)
        try:
            record = PlanRecord.model_validate_json(_record_of(path).read_bytes())
            data = path.read_bytes()
        except (OSError, ValidationError):
            return None
        if record.key != key or hashlib.sha256(data).hexdigest() != record.plan_sha256:
            return None
        return Plan(path, record, was_ready=True, data=data)

    def make(
        self,
        key: PlanKey,
        manifest: EngineManifest,
        model: bytes,
        watch: BuildWatch | None = None,
        stop: threading.Event | None = None,
    ) -> Plan:
        """Build the plan with that key and store it, replacing an old one. Raises EngineError.

        A reader sees the old plan, the new one or none, never a partial one.
        """
        built = build(self.library, manifest, model, precision=key.precision, rows=key.rows, watch=watch, stop=stop)
        record = PlanRecord(
            key=key,
            plan_sha256=hashlib.sha256(built.plan).hexdigest(),
            built_in_s=built.built_in_s,
            precisions=built.precisions,
        )
        path = self.path(key)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_file(path, built.plan, sync=True)
            write_file(_record_of(path), record.model_dump_json(indent=1).encode(), sync=True)
        except OSError as error:
            raise EngineError(
                f"{path}: cannot be written ({error.strerror}); expected a folder that the service can write to; "
                "set inference.plan_dir"
            ) from error
        return Plan(path, record, was_ready=False, data=built.plan)


def _record_of(path: Path) -> Path:
    return path.with_suffix(".json")
