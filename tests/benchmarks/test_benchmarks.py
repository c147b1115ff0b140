"""Benchmarks are commands of their own, which no other test runs."""

import importlib
from pathlib import Path

import pytest

import benchmarks

NAMES = sorted(path.stem for path in Path(benchmarks.__path__[0]).glob("[a-z]*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_each_finds_what_it_imports(name: str) -> None:
    importlib.import_module(f"benchmarks.{name}")
