"""A renamed event still shows its former name, so that a plant's scripts go on finding it."""

import json
import subprocess
import sys

import pytest

from linewatch.logs import FORMER_NAMES

pytestmark = pytest.mark.service

PROGRAM = """
import sys
import structlog
from linewatch.logs import configure_logs
configure_logs("info")
structlog.get_logger().info(sys.argv[1], engine="screen")
"""


@pytest.mark.parametrize(("event", "former"), [("engine_recovered", "engine_well_again"), ("running", None)])
def test_the_former_name_is_in_the_line(event: str, former: str | None) -> None:
    logged = subprocess.run(
        [sys.executable, "-c", PROGRAM, event], capture_output=True, text=True, check=True, timeout=60
    )
    line = json.loads(logged.stderr)
    assert (line["event"], line.get("formerly"), line["engine"]) == (event, former, "screen")


def test_a_former_name_is_no_present_one() -> None:
    assert not set(FORMER_NAMES) & set(FORMER_NAMES.values())


PLACES = """
import structlog
from linewatch.logs import configure_logs, place_on_strip
configure_logs("info")
log = structlog.get_logger()
log.info("running")
place_on_strip("C-7", 12)
log.warning("lines_missed")
log.warning("coil_start_late", coil="C-8")
"""


def test_a_line_names_the_coil_and_the_frame_that_was_decided_last() -> None:
    logged = subprocess.run([sys.executable, "-c", PLACES], capture_output=True, text=True, check=True, timeout=60)
    places = [(line.get("coil"), line.get("ordinal")) for line in map(json.loads, logged.stderr.splitlines())]
    assert places == [(None, None), ("C-7", 12), ("C-8", None)]
