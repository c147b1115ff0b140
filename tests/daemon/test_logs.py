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
