"""Write requirements/*.lock from pyproject.toml and constraints.txt, with all hashes: `python -m tools.lock`.

base.lock is the install without extras. Every extra but `gpu` has a lock of its own; that of `dev` holds all extras of
`make install-dev` but `train`, whose torch may be a build for CPUs from elsewhere. Needs a package index.
"""

import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tools.licences import ROOT

UNLOCKED: Final = {"gpu"}
"""TensorRT's wheels come from NVIDIA's own index, and must fit the driver of the host."""
NOT_WITH_DEV: Final = {"gpu", "train", "import", "genicam"}
"""genicam is built from source, where the system has what it is built against; import is part of train."""
_EVERYWHERE: Final = "implementation_name == 'cpython'"
_DEV: Final = f"{_EVERYWHERE} and python_full_version < '3.15'"
"""mypy needs other packages from Python 3.15 on, for which ONNX Runtime has no wheels yet."""


def extras() -> list[str]:
    """Return the names of all extras."""
    return sorted(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def in_dev_lock() -> list[str]:
    """Return the extras that requirements/dev.lock holds."""
    return [extra for extra in extras() if extra not in NOT_WITH_DEV]


def lock(name: str, with_extras: Sequence[str], folder: Path, environments: str = _EVERYWHERE) -> None:
    """Write one lock. Raises CalledProcessError where uv finds no versions that fit."""
    text = (ROOT / "pyproject.toml").read_text()
    if environments != _EVERYWHERE:
        assert text.count(f'"{_EVERYWHERE}"') == 1
        text = text.replace(f'"{_EVERYWHERE}"', f'"{environments}"')
    project = folder / "pyproject.toml"
    project.write_text(text)
    options = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"]
    options += ["--no-emit-index-url", "--quiet", "-c", str(ROOT / "constraints.txt")]
    options += [word for extra in with_extras for word in ("--extra", extra)]
    out = ROOT / "requirements" / f"{name}.lock"
    uv = str(Path(sys.executable).with_name("uv"))
    command = [uv, "pip", "compile", project.name, *options, "-o", str(out)]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)  # uv reads its settings from the folder


def main() -> None:
    """Write all locks."""
    with tempfile.TemporaryDirectory() as folder:
        lock("base", (), Path(folder))
        for extra in extras():
            if extra == "dev":
                lock(extra, in_dev_lock(), Path(folder), _DEV)
            elif extra not in UNLOCKED:
                lock(extra, (extra,), Path(folder))


if __name__ == "__main__":
    main()
