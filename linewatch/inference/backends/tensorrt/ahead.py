"""`linewatch build`: builds an engine's plan before the service starts."""

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import EngineManifest, Precision
from linewatch.inference.backends.tensorrt.build import BuildWatch
from linewatch.inference.backends.tensorrt.gpu import Gpu, find_gpu
from linewatch.inference.backends.tensorrt.library import Library, import_library
from linewatch.inference.backends.tensorrt.plans import Plan, PlanCache, rows_per_run
from linewatch.inference.engines import find_engine
from linewatch.inference.settings import InferenceSettings


def build_ahead(
    name: str, settings: InferenceSettings, precision: Precision | None = None, watch: BuildWatch | None = None
) -> Plan:
    """Return the plan of an engine that a service with these settings needs, from the cache or built now.

    precision: in place of the one in the settings. Raises EngineError.
    """
    engine = find_engine(settings.engines_dir, name, settings.trusted_signers)
    library = import_library()
    cache = PlanCache(settings.plan_dir, library, _gpu_to_build_on(library))
    asked = precision or (settings.plan_precision if engine.manifest.precision == "fp32" else engine.manifest.precision)
    _refuse_misfit(engine.manifest, asked)
    key = cache.key(engine.manifest, asked, rows_per_run(engine.manifest.task, settings.ladder[-1]))
    return cache.find(key) or cache.make(key, engine.manifest, engine.model, watch)


def _gpu_to_build_on(library: Library) -> Gpu | None:
    """Return the GPU; None where there is none and TensorRT-RTX, which builds without one, is installed."""
    try:
        return find_gpu()
    except EngineError:
        if library.flavour == "tensorrt":
            raise
        return None


def _refuse_misfit(manifest: EngineManifest, asked: Precision) -> None:
    if asked == manifest.precision or (manifest.precision, asked) == ("fp32", "fp16"):
        return
    remedy = "quantise it first" if asked == "int8" else "leave --precision out, or name the source engine"
    raise EngineError(
        f"engine {manifest.name}: its model is {manifest.precision}, {asked} cannot be made from it (FP16 is "
        f"made from an FP32 engine, INT8 needs a model with Q/DQ nodes); {remedy}"
    )
