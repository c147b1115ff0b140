"""Programs of other makers in Node.js, for tests that talk to them. `make test-foreign` installs their packages."""

import os
import shutil
from pathlib import Path

import pytest

FOREIGN = Path(__file__).parents[1] / "foreign"
MODULES = Path(os.environ.get("LINEWATCH_NODE_MODULES", FOREIGN / "node_modules"))


def needs_node(package: str) -> pytest.MarkDecorator:
    """Skip a test where Node.js or one of its packages is not installed."""
    missing = shutil.which("node") is None or not (MODULES / package).is_dir()
    return pytest.mark.skipif(missing, reason=f"needs Node.js with {package}: make test-foreign")


def node_environment() -> dict[str, str]:
    """Return the environment in which a script of `tests/foreign` finds its packages."""
    return {**os.environ, "NODE_PATH": str(MODULES)}
