"""The examples in docs/wire.md run unchanged."""

import os
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

import linewatch

pytestmark = pytest.mark.service

ROOT = Path(linewatch.__file__).parents[1]
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "wire.md").read_text(), re.DOTALL)


@pytest.mark.parametrize(
    ("example", "expected"), [(0, b"scratch (100.0, 130.25)"), (1, b"scratch (100.0, 130.25)"), (2, b"scratch [")]
)
def test_an_example_prints_defects_as_they_come(start_service, example, expected):
    service = start_service()
    service.tell("alarm")
    code = (
        EXAMPLES[example]
        .replace("tcp://127.0.0.1:5570", service.publish)
        .replace("tcp://127.0.0.1:5571", service.serve)
    )
    consumer = subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    printed = b""
    try:
        while expected not in printed:  # it may not have subscribed yet
            service.tell("frames 1 3")
            if select.select([consumer.stdout], [], [], 0.1)[0]:
                news = os.read(consumer.stdout.fileno(), 10_000)
                assert news, f"the example ended; it printed {printed!r}"
                printed += news
    finally:
        consumer.kill()
        consumer.communicate()
