"""The shipped engines and a service's settings, for tests of the whole."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import structlog
from hypothesis import settings as hypothesis_settings

from linewatch.contracts.errors import EngineError
from linewatch.inference.backends.tensorrt.gpu import find_gpu
from linewatch.inference.backends.tensorrt.library import import_library
from linewatch.inference.trial import LOWEST, PROGRAM
from linewatch.networks.torchvision_operators import declare
from linewatch.service_settings import ServiceSettings, settings_from

pytest_plugins = ["failing_disk", "made_sets", "small_services"]

ROOT = Path(__file__).parents[1]

hypothesis_settings.register_profile("shared", deadline=None)  # a busy machine is no failure
hypothesis_settings.load_profile("shared")

declare()  # before any test module imports lightning or torchmetrics by itself


@pytest.hookimpl(tryfirst=True)  # before fixtures that need the GPU
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked `gpu` run wherever there is one, and say elsewhere why they do not."""
    if item.get_closest_marker("gpu") and (missing := _missing_for_gpu()):
        pytest.skip(missing)


@cache
def _missing_for_gpu() -> str | None:
    try:
        import_library()
        find_gpu()
    except EngineError as missing:
        return str(missing)
    return None


@pytest.fixture(scope="session", autouse=True)
def _log_stays() -> Iterator[None]:
    """A command that a test calls in its process does not set up the log: it would write to the stderr of that test."""
    left_alone = ModuleType("structlog")
    left_alone.__dict__.update(vars(structlog), configure=lambda **_settings: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("linewatch.logs.structlog", left_alone)
        yield


@pytest.fixture(scope="session", autouse=True)
def _trials_take_their_share() -> Iterator[None]:
    """Tests wait for an engine on trial, which at the lowest priority would get nothing beside other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("linewatch.inference.trial.PROGRAM", PROGRAM[len(LOWEST) :])
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_service_manager() -> None:
    """A service manager that runs the tests is not told about the services in them."""
    os.environ.pop("NOTIFY_SOCKET", None)


@pytest.fixture
def settings(tmp_path: Path) -> ServiceSettings:
    """A short simulated coil through the shipped engines, on free ports, journaled under the test's folder."""
    return settings_from(
        {
            "taxonomy": str(ROOT / "configs" / "taxonomy.toml"),
            "source": {"type": "simulator", "length_m": 10.0, "defects_per_m": 2.0, "coil": "TEST-7"},
            "decision": {"call_probability": 0.0},  # many defects on little strip
            "inference": {"chain": "cascade", "engines_dir": str(ROOT / "engines"), "workers": 2},
            "journal": {"dir": str(tmp_path / "journal")},
            "wire": {"publish": "tcp://127.0.0.1:*", "serve": "tcp://127.0.0.1:*"},
        },
        "tests",
    )
