"""A set of small random engines for the tests of inference, written once, laid out as in `engines/`."""

from pathlib import Path

import nets
import pytest

from linewatch.config.line import LineSettings
from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import Task
from linewatch.contracts.ports import Backend
from linewatch.inference.backends.registry import BACKENDS, open_backend
from linewatch.inference.engines import EngineSet, load_engines
from linewatch.inference.settings import InferenceSettings

LINES, WIDTH, TILE = 64, 208, 64


@pytest.fixture(scope="session")
def line() -> LineSettings:
    return LineSettings(width_px=WIDTH, frame_lines=LINES)


@pytest.fixture(scope="session")
def engines_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write screen and inspect (whole frame), screen-tiles and inspect-tiles (smaller ones), classify and segment, for
    frames of 64 x 208.
    """
    folder = tmp_path_factory.mktemp("engines")
    nets.write(folder, Task.SCREEN, nets.screen(LINES, WIDTH), LINES, WIDTH)
    nets.write(folder, Task.SCREEN, nets.screen(32, 96), 32, 96, name="screen-tiles")
    nets.write(folder, Task.INSPECT, nets.inspect(LINES, WIDTH), LINES, WIDTH)
    nets.write(folder, Task.INSPECT, nets.inspect(32, 96), 32, 96, name="inspect-tiles")
    nets.write(folder, Task.CLASSIFY, nets.classify(TILE, TILE), TILE, TILE)
    nets.write(folder, Task.SEGMENT, nets.segment(TILE, TILE), TILE, TILE)
    return folder


@pytest.fixture(scope="session")
def settings(engines_dir: Path) -> InferenceSettings:
    return InferenceSettings(engines_dir=engines_dir, chain="cascade")


@pytest.fixture(scope="session")
def engines(settings: InferenceSettings) -> EngineSet:
    return load_engines(settings)


ON_A_GPU = {"onnxruntime-cuda", "tensorrt"}


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, marks=[pytest.mark.gpu] if name in ON_A_GPU else []) for name in BACKENDS],
)
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Backend:
    """Every registered backend that this machine can run."""
    if request.param in {"cpu", "openvino"}:
        pytest.importorskip("openvino", reason="needs linewatch[openvino]")
    try:
        return open_backend(request.param, InferenceSettings(plan_dir=tmp_path_factory.mktemp("plans")))
    except EngineError as missing:
        if request.param != "onnxruntime-cuda":  # which shares its package's name with the CPU's
            raise
        pytest.skip(str(missing))
