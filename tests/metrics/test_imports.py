"""Data sets, metrics and the coil builder need the base install only."""

import subprocess
import sys

import pytest
from made_pictures import REPO

EXTRA = ("torch", "torchvision", "lightning", "torchmetrics", "matplotlib", "scipy", "sklearn", "onnx")


@pytest.mark.slow
@pytest.mark.parametrize(
    "module",
    [
        "linewatch.datasets.arguments",
        "linewatch.datasets.check",
        "linewatch.datasets.parts",
        "linewatch.metrics.counts",
        "linewatch.metrics.labels",
        "linewatch.metrics.masks",
        "linewatch.metrics.windows",
        "linewatch.evaluation",
        "linewatch.export",
        "experiments.held_out_coil",
        "experiments.make_splits",
    ],
)
def test_it_imports_without_the_extras(module: str) -> None:
    """A blocked module raises ImportError on import, as one that is not installed."""
    code = f"import sys\nfor name in {EXTRA}: sys.modules[name] = None\nimport {module}"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_coil_is_built_and_judged_without_the_extras(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """The commands of `make coil` answer for their options with the extras blocked."""
    for command in ("build", "judge"):
        code = (
            f"import sys\nfor name in {EXTRA}: sys.modules[name] = None\n"
            f"sys.argv = ['held_out_coil', '{command}', '--help']\n"
            "import runpy\nrunpy.run_module('experiments.held_out_coil', run_name='__main__')"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "--" in done.stdout
