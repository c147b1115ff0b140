"""SIGHUP, which `systemctl reload` sends, reads the rules again and ends no process."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bright_strip import write_running_strip
from forked import Forked, linewatch
from process_settings import history_settings, s7_settings, strip_settings
from waiting import wait_until

pytestmark = pytest.mark.service

PATIENCE_S = 120.0


def told(log: Path, event: str) -> list[dict[str, Any]]:
    lines = log.read_text().splitlines(keepends=True)
    events = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]
    return [one for one in events if one["event"] == event]


def start(log: Path, *words: object) -> Forked:
    with log.open("ab") as file:
        return linewatch(*words, streams={1: file.fileno(), 2: file.fileno()})


def ends_well(process: Forked) -> None:
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0


def test_a_service_reads_its_rules_again_and_tells_what_it_cannot_change(tmp_path: Path) -> None:
    """New rules are in force; a setting of the line waits for a restart; a file with a fault changes nothing."""
    config, log = write_running_strip(tmp_path, length_m=1_000.0), tmp_path / "log"
    first = config.read_text()
    process = start(log, "run", config)
    try:
        wait_until(lambda: told(log, "running"), PATIENCE_S)
        assert "[crops]" not in first
        stricter = first.replace("[decision]\n", "[decision]\ncall_probability = 0.9\n")
        config.write_text(f"{stricter}\n[crops]\nmax_per_s = 3.0\n")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: told(log, "restart_needed"), PATIENCE_S)
        (reloaded,), (needed,) = told(log, "rules_reloaded"), told(log, "restart_needed")
        assert reloaded["by"] == "SIGHUP"
        assert needed["settings"] == reloaded["left"] == ["crops"]
        config.write_text(first.replace("[decision]\n", "[decision]\ncall_probability = 7\n"))
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: told(log, "rules_refused"), PATIENCE_S)
        assert "call_probability" in told(log, "rules_refused")[0]["why"]
        assert len(told(log, "rules_reloaded")) == 1
        ends_well(process)
    finally:
        process.kill()
        process.wait(PATIENCE_S)


@pytest.mark.parametrize(
    ("command", "settings", "opened", "answered"),
    [
        (["strip"], strip_settings, "running", "rules_reloaded"),
        (["history"], history_settings, "history_opened", "restart_needed"),
        (["bridge", "s7"], s7_settings, "plc_not_served", "restart_needed"),
    ],
)
def test_the_processes_beside_it_are_not_ended(
    command: list[str], settings: Callable[[Path], str], opened: str, answered: str, tmp_path: Path
) -> None:
    config, log = tmp_path / "config.toml", tmp_path / "log"
    config.write_text(settings(tmp_path))
    process = start(log, *command, config)
    try:
        wait_until(lambda: told(log, opened), PATIENCE_S)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: told(log, answered), PATIENCE_S)
        ends_well(process)
    finally:
        process.kill()
        process.wait(PATIENCE_S)


def test_a_terminal_that_is_closed_ends_what_it_started() -> None:
    program = (
        "import signal; from linewatch.signals import on_reload\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup\n"
        "with on_reload(print):\n    print('up', flush=True); input()"
    )
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", program], stdin=theirs, stdout=subprocess.PIPE) as process:
        os.close(theirs)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGHUP)
        try:
            assert process.wait(PATIENCE_S) == -signal.SIGHUP
        finally:
            process.kill()
    os.close(ours)
