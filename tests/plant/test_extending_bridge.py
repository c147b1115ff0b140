"""The worked example of docs/extending.md is a bridge: it follows a real service and writes what it promises."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from bridge_and_plc import PATIENCE_S, ROOT
from waiting import wait_until

pytestmark = pytest.mark.service

DOCUMENT = ROOT / "docs" / "extending.md"
START = """
import sys
from pathlib import Path
from jsonlines import JSON_LINES
from linewatch.config.load import load
JSON_LINES.run(load(Path(sys.argv[1]), JSON_LINES.settings))
"""


def test_the_example_of_a_bridge_writes_closed_defects(tmp_path, start_service):
    (code,) = re.findall(
        r'```python title="linewatch/plant/jsonlines/__init__.py"\n(.*?)```', DOCUMENT.read_text(), re.DOTALL
    )
    (tmp_path / "jsonlines.py").write_text(code)
    assert len(code.splitlines()) < 60
    service, found = start_service(), tmp_path / "defects.jsonl"
    config = tmp_path / "jsonlines.toml"
    config.write_text(f'file = "{found}"\n[service]\npublish = "{service.publish}"\nserve = "{service.serve}"\n')
    paths = os.pathsep.join([str(ROOT), str(tmp_path)])
    bridge = subprocess.Popen(
        [sys.executable, "-c", START, config],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert any("synchronised" in line for line in iter(bridge.stdout.readline, ""))
        service.tell("frames 2 3")
        service.tell("frames 1 3 closed")
        wait_until(found.read_text, PATIENCE_S)
        bridge.send_signal(signal.SIGTERM)
        assert bridge.wait(PATIENCE_S) == 0
    finally:
        bridge.kill()
        bridge.communicate()
    assert [json.loads(line)["state"] for line in found.read_text().splitlines()] == ["closed"]
