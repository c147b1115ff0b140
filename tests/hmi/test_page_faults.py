"""Every warning and error of a service's log is told in plain words."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from linewatch.hmi.faults import FAULTS

PACKAGE = Path(__file__).parents[2] / "linewatch"
OF_A_SERVICE = ("capture", "daemon", "inference", "journal", "strip", "wire")
NO_FAULT = {"command", "journal_kept_again"}


def events() -> Iterator[str]:
    """Yield the events of warnings and errors that the rooms of a service log."""
    for room in OF_A_SERVICE:
        for path in sorted((PACKAGE / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and re.match(r"\(?log\.(warning|error|exception)\b", _called(node)):
                    yield from _names(node)


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def _names(node: ast.Call) -> Iterator[str]:
    if node.args:
        for found in ast.walk(node.args[0]):
            if isinstance(found, ast.Constant) and isinstance(found.value, str):
                yield found.value


def test_every_fault_has_its_words() -> None:
    told = set(events())
    assert {"camera_lost", "camera_absent", "shedding", "journal_lost", "messages_lost"} <= told, "events were found"
    lacking = sorted(told - FAULTS.keys() - NO_FAULT - {"shedding_ended"})
    assert not lacking, f"say in linewatch/hmi/faults.py what these mean, and what to do: {lacking}"
    assert all(what and remedy for what, remedy in FAULTS.values())
