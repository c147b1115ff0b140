"""The client of the wire's first version works with today's service, and both with one of a later minor version."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from linewatch.client.connection import Connection
from linewatch.wire.schema import SCHEMA_MINOR

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]
FIRST = "SCHEMA_MINOR: Final = 0"
CONSUMER = """
import json, sys
import linewatch
from linewatch.client import Lost, Subscriber
from linewatch.wire.schema import SCHEMA_MINOR

publish, serve = sys.argv[1:]
topics, lost, newest, bridges = [], 0, None, None
with Subscriber(publish, serve, since="epoch") as subscriber:
    while "alarm" not in topics or newest is None:
        message = subscriber.poll(30)
        if isinstance(message, Lost):
            lost += 1
        elif message.topic == "status":
            newest = message.schema_minor
            bridges = getattr(message, "bridges", None)
        else:
            topics.append(str(message.topic))
    snapshot = subscriber.snapshot()
    print(json.dumps({
        "minor": SCHEMA_MINOR, "package": linewatch.__file__, "topics": topics, "lost": lost, "service": newest,
        "rejected": subscriber.rejected, "filled": subscriber.filled, "coil": snapshot.coil.coil,
        "standing": len(snapshot.standing_alarms), "bridges": bridges is not None,
    }))
"""


@pytest.fixture(scope="module")
def first_client(tmp_path_factory):
    """The package as it was when the wire's minor version was 0, from the history of this repository."""
    path = "linewatch/wire/schema/base.py"
    told = subprocess.run(
        ["git", "-C", ROOT, "log", "--reverse", "--format=%H", f"-S{FIRST}", "--", path],
        capture_output=True,
        text=True,
        check=False,
    )
    commits = told.stdout.split()
    if told.returncode or not commits:
        pytest.skip("the history of this repository is not here: expected a full clone")
    archived = subprocess.run(
        ["git", "-C", ROOT, "archive", commits[0], "linewatch"], capture_output=True, check=True
    ).stdout
    folder = tmp_path_factory.mktemp("first")
    with tarfile.open(fileobj=io.BytesIO(archived)) as archive:
        archive.extractall(folder, filter="data")
    assert FIRST in (folder / path).read_text()
    return folder


def consume(package: Path, service) -> dict:
    """Return what a consumer of that package hears of the service."""
    ended = subprocess.run(
        [sys.executable, "-c", CONSUMER, service.publish, service.serve],
        env={**os.environ, "PYTHONPATH": str(package)},
        cwd=package,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_the_first_client_loses_nothing_of_todays_service_nor_of_a_later_one(first_client, start_service):
    service = start_service()
    with Connection(service.serve, "serve", 10.0, None) as connection:
        connection.report_bridge(name="modbus", protocol="modbus", peers=1)  # a key of 1.1 in the status
    service.tell("coil started")
    service.tell("frames 2 3")
    service.tell("roll")
    service.tell("unheard")  # comes from the journal, by a replay
    found = consume(first_client, service)
    assert found["package"].startswith(str(first_client))
    assert (found["minor"], found["service"]) == (0, SCHEMA_MINOR)
    assert (found["rejected"], found["lost"]) == (0, 0)
    assert {"frame", "defect", "coil", "roll_mark", "alarm"} <= set(found["topics"])
    assert found["filled"] > 0
    assert (found["coil"], found["standing"], found["bridges"]) == ("C1", 1, False)

    service.tell("later")
    service.tell("frames 2 3 closed")
    service.tell("alarm")
    for package, minor in ((first_client, 0), (ROOT, SCHEMA_MINOR)):
        found = consume(package, service)
        assert (found["minor"], found["service"]) == (minor, SCHEMA_MINOR + 7)
        assert (found["rejected"], found["lost"]) == (0, 0)
        assert found["topics"].count("frame") == 7  # the alarms and the roll mark came with one each
        assert found["topics"].count("alarm") == 2
