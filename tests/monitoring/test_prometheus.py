"""Debian's own Prometheus reads a real service over TLS with its token, and the shipped rules tell when it is gone."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from certificates_of_brokers import Authority
from waiting import wait_until

ROOT = Path(__file__).parents[2]
TOKEN = "0123456789abcdef0123456789abcdef"

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="no Prometheus here: apt-get install prometheus"),
]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def process(command: list[str], folder: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{name}.log").open("wb") as log:
        running = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "NO_PROXY": "*"})
    try:
        yield running
    finally:
        running.kill()
        running.wait()


class Prometheus:
    """Asks a server over its HTTP interface."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1/"

    def value(self, expression: str) -> float | None:
        """Return the value of an expression with one series; None: there is none."""
        found = self._asked(f"query?{urllib.parse.urlencode({'query': expression})}")
        return float(found["result"][0]["value"][1]) if found and found["result"] else None

    def alerts(self) -> set[tuple[str, str]]:
        """Return the name and the state of each alert that is pending or firing."""
        found = self._asked("alerts") or {"alerts": []}
        return {(one["labels"]["alertname"], one["state"]) for one in found["alerts"]}

    def rules(self) -> set[str]:
        found = self._asked("rules") or {"groups": []}
        return {rule["name"] for group in found["groups"] for rule in group["rules"]}

    def trouble(self, job: str) -> str:
        """Return why a job's target was not scraped."""
        found = self._asked("targets") or {"activeTargets": []}
        return next((one["lastError"] for one in found["activeTargets"] if one["labels"]["job"] == job), "")

    def _asked(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(self._url + path, timeout=5) as answer:
                return json.loads(answer.read())["data"]
        except OSError:
            return None


def scraped(job: str, port: int, authority: Path, token: Path) -> dict[str, object]:
    return {
        "job_name": job,
        "scheme": "https",
        "tls_config": {"ca_file": str(authority)},
        "authorization": {"credentials_file": str(token)},
        "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
    }


def test_a_real_prometheus_scrapes_a_real_service_and_its_rules_tell_of_its_death(tmp_path: Path) -> None:
    mill, stranger = Authority(tmp_path, "mill"), Authority(tmp_path, "stranger")
    mill.certify("line1", "127.0.0.1")
    for name, text in (("token", TOKEN), ("wrong", TOKEN[::-1])):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    endpoint, port = free_port(), free_port()
    (tmp_path / "service.toml").write_text(
        f'taxonomy = "{ROOT}/configs/taxonomy.toml"\n[line]\nline_rate_hz = 600.0\n'
        '[source]\ntype = "simulator"\nlength_m = 2000.0\ncoil = "P-1"\n'
        f'[inference]\nchain = "cascade"\nworkers = 1\nengines_dir = "{ROOT}/engines"\n'
        f'[journal]\ndir = "{tmp_path}/journal"\n'
        f'[wire]\npublish = "ipc://{tmp_path}/p"\nserve = "ipc://{tmp_path}/s"\ncommands = "ipc://{tmp_path}/c"\n'
        f'[monitoring]\nport = {endpoint}\ncertificate_file = "{tmp_path}/line1.crt"\n'
        f'key_file = "{tmp_path}/line1.key"\ntoken_file = "{tmp_path}/token"\n'
    )
    jobs = [
        scraped("linewatch", endpoint, mill.file, tmp_path / "token"),
        scraped("wrong-token", endpoint, mill.file, tmp_path / "wrong"),
        scraped("wrong-authority", endpoint, stranger.file, tmp_path / "token"),
    ]
    rules = str(ROOT / "configs" / "prometheus" / "alerts.yml")
    settings = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [rules]}
    (tmp_path / "prometheus.yml").write_text(json.dumps(settings | {"scrape_configs": jobs}))  # JSON is YAML
    server = ["prometheus", "--config.file=prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb"]
    with ExitStack() as stack:
        run = [sys.executable, "-m", "linewatch.cli", "run", str(tmp_path / "service.toml")]
        service = stack.enter_context(process(run, tmp_path, "service"))
        stack.enter_context(process([*server, f"--web.listen-address=127.0.0.1:{port}"], tmp_path, "prometheus"))
        prometheus = Prometheus(port)
        wait_until(lambda: prometheus.value('up{job="linewatch"}') == 1.0)
        wait_until(lambda: prometheus.value('linewatch_lines_total{job="linewatch", quality="inspected"}'))
        wait_until(lambda: prometheus.value('linewatch_healthy{job="linewatch"}') == 1.0)
        assert {"LinewatchProcessDown", "LinewatchUnhealthy", "LinewatchMissesStrip"} <= prometheus.rules()
        wait_until(lambda: ("LinewatchProcessDown", "pending") not in prometheus.alerts())  # it may have come first
        for job, why in (("wrong-token", "401"), ("wrong-authority", "certificate")):
            wait_until(lambda job=job: prometheus.value(f'up{{job="{job}"}}') == 0.0)
            wait_until(lambda job=job, why=why: why in prometheus.trouble(job))
        service.send_signal(signal.SIGKILL)
        wait_until(lambda: ("LinewatchProcessDown", "pending") in prometheus.alerts())
