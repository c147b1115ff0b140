"""The newest faults of a process: bounded, counted, ended by the events that end them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from linewatch.faults import ENDS, MOST, NewestFaults

ROOT = Path(__file__).parents[2]
SOURCE = "\n".join(path.read_text() for path in (ROOT / "linewatch").rglob("*.py"))


def test_a_fault_is_counted_once_for_each_event_and_ends() -> None:
    now = iter(range(1, 100))
    faults = NewestFaults(lambda: next(now))
    faults(None, "warning", {"event": "lines_missed", "lines_by_cause": {"dark": 5}})
    faults(None, "info", {"event": "coil_started"})
    faults(None, "error", {"event": "camera_lost", "why": "the\ncable", "exc_info": True})
    faults(None, "warning", {"event": "lines_missed", "lines_by_cause": {"dark": 9}})
    faults(None, "warning", {"event": "command", "outcome": "forbidden"})
    newest, before = faults.newest
    assert (newest.event, newest.error, newest.count, newest.over_unix_ns) == ("lines_missed", False, 2, None)
    assert newest.first_unix_ns < before.last_unix_ns < newest.last_unix_ns
    assert newest.text == "lines_by_cause: dark 9"
    assert (before.event, before.error, before.text) == ("camera_lost", True, "why: the cable")
    faults(None, "info", {"event": "inspection_resumed"})
    faults(None, "info", {"event": "camera_open"})
    assert all(one.over_unix_ns is not None for one in faults.newest)
    faults(None, "warning", {"event": "lines_missed"})
    assert faults.newest[0].over_unix_ns is None, "it has come again"
    for number in range(MOST + 5):
        faults(None, "error", {"event": f"fault_{number}", "text": "x" * 10_000})
    assert len(faults.newest) == MOST
    assert faults.newest[0].event == f"fault_{MOST + 4}"
    assert max(len(one.text) for one in faults.newest) < 300


LOGGED = """
import structlog
from linewatch.logs import configure_logs, log_sums, newest_faults
configure_logs("error")
for _ in range(500):
    structlog.get_logger().error("camera_lost", why="the cable")
structlog.get_logger().warning("lines_missed")
structlog.get_logger().info("camera_open")
log_sums(last=True)
missed, lost = newest_faults()
print(missed.event, lost.event, lost.count, lost.over_unix_ns is not None)
"""


def test_the_log_keeps_them_whatever_its_level_and_although_it_writes_only_sums_of_what_comes_again() -> None:
    """The sum of a fault that is over does not begin it anew."""
    done = subprocess.run([sys.executable, "-c", LOGGED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["lines_missed", "camera_lost", "500", "True"]
    logged = done.stderr.splitlines()
    assert len(logged) < 100
    assert all("camera_lost" in line for line in logged), "only errors are logged"


@pytest.mark.parametrize("event", sorted({*ENDS, *(name for names in ENDS.values() for name in names)}))
def test_what_begins_and_ends_a_fault_is_an_event_of_the_log(event: str) -> None:
    assert re.search(rf'"{event}"', SOURCE.replace((ROOT / "linewatch/faults.py").read_text(), ""))
