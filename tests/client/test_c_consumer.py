"""The consumer in C, compiled as docs/wire.md says, follows a service over gaps, a later minor version and silence."""

import re
import shlex
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from waiting import wait_until

ROOT = Path(__file__).parents[2]
HEADERS = [Path("/usr/include/zmq.h"), Path("/usr/include/jansson.h")]
PATIENCE_S = 120.0

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(
        shutil.which("cc") is None or not all(header.exists() for header in HEADERS),
        reason="needs a C compiler, libzmq3-dev and libjansson-dev",
    ),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    (command,) = re.findall(r"^cc .*$", (ROOT / "docs" / "wire.md").read_text(), re.MULTILINE)
    built = tmp_path_factory.mktemp("c") / "follow"
    subprocess.run([str(built) if word == "follow" else word for word in shlex.split(command)], cwd=ROOT, check=True)
    return built


def test_it_hears_everything_and_says_when_nobody_inspects(program, start_service):
    service = start_service()
    service.tell("coil started")
    service.tell("frames 2 3")
    with subprocess.Popen([program, service.publish, service.serve], stdout=subprocess.PIPE, text=True) as consumer:
        said: list[str] = []
        reader = threading.Thread(target=_read, args=(consumer, said))
        reader.start()

        def hears(text: str, times: int) -> None:
            wait_until(lambda: sum(text in line for line in said) >= times, PATIENCE_S)

        try:
            hears("defect opened scratch at", 2)  # from before it was started
            service.tell("frames 3 3")
            hears("defect opened scratch at", 5)
            service.tell("unheard")  # comes from the journal, once the heartbeat tells of it
            hears("alarm raised scratches", 1)
            service.tell("later")
            service.tell("frames 2 3 closed")
            hears("defect closed scratch at", 2)
            service.tell("mute")
            hears("NOT INSPECTED: the heartbeat stands", 1)
            service.tell("garbage")
            service.tell("alarm")
            hears("alarm raised scratches", 2)
            assert not [line for line in said if line.startswith("lost")]
            assert sum("defect opened scratch at" in line for line in said) == 5
            assert sum("alarm raised scratches" in line for line in said) == 2
        finally:
            consumer.send_signal(signal.SIGTERM)
            reader.join()
    assert consumer.returncode == 0


def _read(consumer: subprocess.Popen, said: list[str]) -> None:
    for line in consumer.stdout:
        said.append(line.rstrip())


def test_it_ends_with_a_clear_error_for_a_bad_endpoint(program):
    ended = subprocess.run([program, "nonsense", "tcp://127.0.0.1:1"], capture_output=True, text=True, check=False)
    assert ended.returncode == 3
    assert "cannot connect to nonsense" in ended.stderr
