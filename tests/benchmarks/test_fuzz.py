"""The fuzzing finds a reader that raises what it does not document, and keeps the input."""

import math
import random
from pathlib import Path

import pytest

from benchmarks.fuzz.__main__ import fuzz
from benchmarks.fuzz.mutation import MOST_BYTES, mutated
from benchmarks.fuzz.surfaces import SURFACES, Surface


def test_an_undocumented_error_is_a_finding_and_its_input_is_kept(tmp_path: Path) -> None:
    def read(path: Path) -> None:
        raise ZeroDivisionError if b"b" in path.read_bytes() else ValueError("refused")

    (tmp_path / "work").mkdir()
    surface = Surface("weak", "input", read, lambda: [b"aaaa", b"bbbb"], (ValueError,))
    outcome = fuzz(surface, math.inf, 1, tmp_path / "work", tmp_path / "out", most_inputs=200, hang_s=0)
    (found,) = (tmp_path / "out/findings/weak").iterdir()
    assert outcome.findings == 1
    assert b"b" in found.read_bytes()
    assert outcome.refused > 0


def test_the_same_seed_gives_the_same_inputs_within_the_bound() -> None:
    def inputs() -> list[bytes]:
        chance = random.Random(7)
        return [mutated([b"x" * MOST_BYTES, b"{}"], chance) for _ in range(50)]

    assert inputs() == inputs()
    assert max(map(len, inputs())) <= MOST_BYTES


@pytest.mark.parametrize("name", [name for name in SURFACES if name not in {"labels-csv", "labels-coco"}])
def test_the_first_inputs_are_valid(name: str, tmp_path: Path) -> None:
    surface = SURFACES[name]
    for data in surface.first():
        path = tmp_path / surface.file
        path.write_bytes(data)
        surface.read(path)
