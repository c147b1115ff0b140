"""`linewatch status` tells the service's state and its bridges, and its exit code whether strip is inspected."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from linewatch.client.connection import Connection
from linewatch.wire.schema import StatusMessage

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]


def status(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "linewatch.cli", "status", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_it_tells_the_service_and_its_bridges(start_service):
    service = start_service()
    with Connection(service.serve, "serve", 10.0, None) as connection:
        connection.report_bridge(name="line 1", protocol="s7", trouble="PLC 10.0.0.5:102: timed out", dropped=3)
    told = status(service.publish, "--serve", service.serve)
    assert told.returncode == 0, told.stderr
    assert "running, healthy" in told.stdout
    assert "s7 troubled: PLC 10.0.0.5:102: timed out; 0 connected, 0 messages wait, 3 dropped" in told.stdout
    service.tell("ailing")
    told = status(service.publish, "--serve", service.serve, "--json")
    assert told.returncode == 1
    assert StatusMessage.model_validate(json.loads(told.stdout), strict=False).bridges[0].dropped == 3
    service.kill()
    told = status(service.publish, "--serve", service.serve)
    assert told.returncode == 5
    assert "no status from" in told.stderr
