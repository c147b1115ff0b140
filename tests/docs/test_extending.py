"""The examples of docs/extending.md, put into a copy of the package as the page says, pass their kind's suite."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r'^```(\w+) title="([^"]+)"\n(.*?)^```$', re.DOTALL | re.MULTILINE)
COPIED = (
    "linewatch",
    "pyproject.toml",
    "configs",
    "docs/modbus-map.csv",
    "engines",
    "tests/conftest.py",
    "tests/support",
    "tests/capture/test_cameras.py",
    "tests/inference",
    "tests/plant",
    "tests/networks",
)
MOST_LINES = 64  # that are not blank
SUITES = [  # with the tests of each example, and how many there are at least
    ("tests/capture/test_cameras.py", "grabber", 7),
    ("tests/inference/test_backends.py", "opencv and not shipped or offers", 6),
    ("tests/plant/test_bridge_kinds.py", "jsonlines", 5),
    ("tests/networks/test_registry.py", "tiny_cnn", 5),
]


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package and its suites, with every example of the page in its place."""
    copy = tmp_path_factory.mktemp("extended")
    for name in COPIED:
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    for language, name, block in BLOCK.findall((ROOT / "docs" / "extending.md").read_text()):
        if language == "diff":
            _patch(copy / name, block)
        else:
            assert len([line for line in block.splitlines() if line]) < MOST_LINES, name
            assert not (copy / name).exists(), f"{name} is there already"
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_text(block)
    return copy


def _patch(path: Path, block: str) -> None:
    """Put the lines that begin with + in place of those with -, between others that stand in the file exactly once."""
    lines = block.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    text = path.read_text()
    assert text.count(before) == 1, f"{path.name} does not hold {before!r} once"
    path.write_text(text.replace(before, "".join(line[1:] for line in lines if line[0] in " +")))


@pytest.fixture(scope="module")
def suites(extended: Path) -> subprocess.CompletedProcess[str]:
    """The kinds' suites, run for the examples in one process."""
    chosen = " or ".join(f"({Path(suite).stem} and ({words}))" for suite, words, _ in SUITES)
    paths = [suite for suite, *_ in SUITES]
    return _run(extended, sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *paths, "-k", chosen)


def _run(extended: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(extended)}
    return subprocess.run(arguments, cwd=extended, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("suite", "least"), [(suite, least) for suite, _, least in SUITES])
def test_an_example_passes_its_kinds_suite(suite: str, least: int, suites: subprocess.CompletedProcess[str]) -> None:
    told = [line for line in suites.stdout.splitlines() if line.startswith(f"{suite}::")]
    assert not [line for line in told if "FAILED" in line or "ERROR" in line], suites.stdout + suites.stderr
    assert sum("PASSED" in line for line in told) >= least, suites.stdout + suites.stderr
    assert suites.returncode == 0, suites.stdout + suites.stderr


def test_check_knows_the_kinds_of_the_page(extended: Path) -> None:
    config = extended / "c.toml"
    config.write_text('[source]\ntype = "grabber"\nport = 4000\n[inference]\nbackend = "opencv"\n')
    done = _run(extended, str(Path(sys.executable).with_name("linewatch")), "check", str(config), "--json")
    assert '"port": 4000' in done.stdout, done.stderr
    config.write_text('[source]\ntype = "steam"\n[inference]\nbackend = "opencv2"\n')
    done = _run(extended, str(Path(sys.executable).with_name("linewatch")), "check", str(config))
    assert done.returncode == 2
    assert "'steam' is unknown, expected one of 'recording', 'folder', 'grabber', " in done.stderr
    assert "'tensorrt' or 'opencv'" in done.stderr
