"""The shipped units are such that systemd accepts them."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
import under_filter
from bright_strip import write_running_strip
from process_settings import history_settings, s7_settings, strip_settings
from waiting import wait_until

from linewatch.client import Commander
from linewatch.contracts.manifest import MANIFEST
from linewatch.wire.schema import BesideState, EngineAction

UNITS = Path(__file__).parents[2] / "systemd"
UNIT = UNITS / "linewatch.service"
BACKUP = UNITS / "linewatch-backup.service"
LASTING = sorted({*UNITS.glob("*.service")} - {BACKUP})
"""Units that run on and on."""
MOST_EXPOSED = {
    "linewatch": 1.4,
    "linewatch-backup": 1.0,
    "linewatch-history": 1.4,
    "linewatch-hmi": 1.8,
    "linewatch-modbus": 1.6,
    "linewatch-mqtt": 1.5,
    "linewatch-opcua": 1.4,
    "linewatch-s7": 1.4,
    "linewatch-strip": 1.4,
}
"""By `systemd-analyze security` of systemd 252. What is left: sockets, devices, code that inference generates."""


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
@pytest.mark.parametrize("unit", sorted(UNITS.glob("*.service")), ids=lambda unit: unit.stem)
def test_systemd_finds_nothing_wrong_with_the_unit(unit: Path, tmp_path: Path) -> None:
    """`systemd-analyze verify` is silent, the program's path apart, which only an installed host has."""
    installed = tmp_path / unit.name
    installed.write_text(unit.read_text().replace("/opt/linewatch/.venv/bin/linewatch", sys.executable))
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(installed)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_the_watchdog_is_slower_than_a_stage_may_be_silent() -> None:
    """systemd restarts a hung service soon after its heartbeat stops, and never a healthy one."""
    from linewatch.daemon.stages.wiring import TICK_S
    from linewatch.daemon.topology import CAPTURE, COIL_FILES, EXCHANGE, TOPOLOGY

    seconds = float(
        next(line for line in UNIT.read_text().splitlines() if line.startswith("WatchdogSec=")).split("=")[1]
    )
    assert max(row.silence_limit_s for row in TOPOLOGY if row not in (CAPTURE, EXCHANGE, COIL_FILES)) < seconds
    assert all(row.silence_limit_s > TICK_S * 5 for row in TOPOLOGY)


def test_the_watchdog_of_a_strip_is_slower_than_its_stages_may_be_silent() -> None:
    from linewatch.strip.listeners import ANSWER_S
    from linewatch.strip.topology import COIL_FILES, FORWARD, LISTEN, TOPOLOGY

    lines = (UNITS / "linewatch-strip.service").read_text().splitlines()
    seconds = float(next(line for line in lines if line.startswith("WatchdogSec=")).split("=")[1])
    assert max(row.silence_limit_s for row in TOPOLOGY if row not in (FORWARD, COIL_FILES)) < seconds
    assert LISTEN.silence_limit_s > ANSWER_S


@pytest.mark.parametrize("unit", LASTING, ids=lambda unit: unit.stem)
def test_systemd_never_gives_a_unit_up(unit: Path) -> None:
    """A cause that lasts longer than a few starts, such as a full disk, must not end the inspection for good."""
    lines = unit.read_text().splitlines()
    assert "Restart=always" in lines
    assert "StartLimitIntervalSec=0" in lines


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
@pytest.mark.parametrize("unit", sorted(UNITS.glob("*.service")), ids=lambda unit: unit.stem)
def test_a_unit_exposes_no_more_than_it_must(unit: Path) -> None:
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    found = re.search(r"exposure level for \S+: ([0-9.]+)", judged.stdout)
    assert found is not None, judged.stderr
    assert float(found[1]) <= MOST_EXPOSED[unit.stem]


@pytest.mark.parametrize("unit", LASTING, ids=lambda unit: unit.stem)
def test_no_other_host_is_reached_unless_it_is_named(unit: Path) -> None:
    lines = unit.read_text().splitlines()
    assert "IPAddressDeny=any" in lines
    assert [line for line in lines if line.startswith("IPAddressAllow=")] == ["IPAddressAllow=localhost"]
    assert any(line.startswith("MemoryMax=") for line in lines)
    assert "WantedBy=multi-user.target" in lines


@pytest.mark.parametrize("unit", LASTING, ids=lambda unit: unit.stem)
def test_a_unit_starts_and_stops_with_the_target(unit: Path) -> None:
    before, _, installed = unit.read_text().partition("[Install]\n")
    assert "PartOf=linewatch.target" in before.partition("[Service]\n")[0].splitlines()
    assert "WantedBy=linewatch.target" in installed.splitlines()


@pytest.mark.skipif(shutil.which("systemctl") is None, reason="systemctl is not on this machine")
def test_enabled_units_are_wanted_by_the_target_and_the_target_by_the_boot(tmp_path: Path) -> None:
    """`systemctl --root` makes the links in a folder, as it would on a host; no systemd runs for it."""
    installed = tmp_path / "etc" / "systemd" / "system"
    installed.mkdir(parents=True)
    units = [*LASTING, *UNITS.glob("*.target")]
    for unit in units:
        shutil.copy(unit, installed)
    names = [unit.name for unit in units]
    subprocess.run(["systemctl", f"--root={tmp_path}", "enable", *names], check=True, capture_output=True, timeout=60)
    wanted = {link.name for link in (installed / "linewatch.target.wants").iterdir()}
    assert wanted == {name for name in names if name.endswith(".service")}
    assert (installed / "multi-user.target.wants" / "linewatch.target").is_symlink()


def test_a_reload_is_offered_by_the_processes_that_read_rules_again() -> None:
    reloading = {unit.stem for unit in LASTING if "ExecReload=/bin/kill -HUP $MAINPID" in unit.read_text().splitlines()}
    assert reloading == {"linewatch", "linewatch-strip"}
    assert all("ExecReload=" not in unit.read_text() for unit in LASTING if unit.stem not in reloading)


def test_the_backup_keeps_the_newest_archives(tmp_path: Path) -> None:
    """The unit's own line removes the oldest ones, and nothing else in the folder."""
    names = [f"linewatch-202612{day:02}T023000Z.tar.gz" for day in range(1, 11)]
    for name in [*names, "by hand.tar.gz"]:
        (tmp_path / name).touch()
    line = next(line for line in BACKUP.read_text().splitlines() if line.startswith("ExecStartPost="))
    words = shlex.split(line.partition("=")[2].replace("$$", "$"))
    subprocess.run(words, check=True, timeout=60, env={**os.environ, "STATE_DIRECTORY": str(tmp_path), "KEEP": "7"})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["by hand.tar.gz", *names[-7:]])


def _opcua(folder: Path) -> str:
    return f'pki_dir = "{folder}/pki"\nanonymous = true\n' + _modbus(folder)


@pytest.mark.service
@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None or not under_filter.HEADER.exists(),
    reason="no systemd-analyze, or no header with the numbers of the system calls",
)
def test_the_service_and_an_engine_on_trial_run_under_its_filter_of_system_calls(tmp_path: Path) -> None:
    """The engine's process is a child of the service, and has its filter: it is loaded, answers, and is promoted."""
    config = write_running_strip(tmp_path, length_m=1_000.0)
    screen = tmp_path / "engines" / "screen"
    other = shutil.copytree(screen, screen.with_name("screen-b"))
    (other / MANIFEST).write_text(json.dumps(json.loads((screen / MANIFEST).read_text()) | {"name": "screen-b"}))
    run = [sys.executable, under_filter.__file__, UNIT, sys.executable, "-m", "linewatch.cli", "run", config]
    env = {**os.environ, "PYTHONPATH": str(UNITS.parent)}
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=log, env=env) as service,
        Commander(f"ipc://{tmp_path}/cmd", answer_timeout_s=2.0) as commander,
    ):
        try:
            wait_until(lambda: '"event": "running"' in (tmp_path / "log").read_text(), 60.0)
            commander.engine(EngineAction.LOAD, "screen-b", shadow=True)

            def has_compared() -> bool:
                beside = commander.engine(EngineAction.SHOW).beside
                assert beside is not None
                assert beside.state is not BesideState.FAILED, beside.text
                return beside.tiles > 10

            wait_until(has_compared, 60.0)
            commander.engine(EngineAction.PROMOTE)
            wait_until(lambda: commander.engine(EngineAction.SHOW).beside is None, 60.0)
        finally:
            service.send_signal(signal.SIGINT)
            assert service.wait(60) == 0
    said = (tmp_path / "log").read_text()
    assert '"event": "engine_promoted"' in said
    assert "Operation not permitted" not in said


def _modbus(folder: Path) -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return f'[service]\npublish = "ipc://{folder}/cam"\nserve = "ipc://{folder}/cam-rep"\n[listen]\nport = {port}\n'


def _hmi(folder: Path) -> str:
    service = f'[service]\npublish = "ipc://{folder}/cam"\nserve = "ipc://{folder}/cam-rep"\n'
    return f'{service}[listen]\nport = 0\n[access]\npeople_file = "{folder}/people.json"\n'


def _mqtt(folder: Path) -> str:
    service = f'[service]\npublish = "ipc://{folder}/cam"\nserve = "ipc://{folder}/cam-rep"\n'
    return f'{service}[broker]\nurl = "mqtt://127.0.0.1:1"\n[store]\nfile = "{folder}/mqtt.sqlite"\n[plain]\n'


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None or not under_filter.HEADER.exists(),
    reason="no systemd-analyze, or no header with the numbers of the system calls",
)
def test_the_backup_runs_under_its_filter_of_system_calls(tmp_path: Path) -> None:
    """The unit's own shell line: the archive is written and verified."""
    state, archives = tmp_path / "state", tmp_path / "archives"
    for folder in (state, archives):
        folder.mkdir()
    with closing(sqlite3.connect(state / "history.sqlite")) as database:
        database.executescript(
            "PRAGMA journal_mode = WAL; CREATE TABLE coil (name TEXT); INSERT INTO coil VALUES ('A')"
        )
    program = tmp_path / "linewatch"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m linewatch.cli "$@"\n')
    program.chmod(0o755)
    text = BACKUP.read_text().replace("\\\n", " ").replace("/opt/linewatch/.venv/bin/linewatch", str(program))
    line = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    line = line.replace("linewatch backup --out", f"linewatch backup {state} --out")
    words = shlex.split(line.partition("=")[2].replace("$$", "$").replace("%%", "%"))
    done = subprocess.run(
        [sys.executable, under_filter.__file__, BACKUP, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(UNITS.parent), "STATE_DIRECTORY": str(archives)},
    )
    assert done.returncode == 0, done.stderr
    (archive,) = archives.iterdir()
    assert re.fullmatch(r"linewatch-\d{8}T\d{6}Z\.tar\.gz", archive.name)
    assert f"{archive}: whole" in done.stdout


@pytest.mark.service
@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None or not under_filter.HEADER.exists(),
    reason="no systemd-analyze, or no header with the numbers of the system calls",
)
@pytest.mark.parametrize(
    ("unit", "command", "settings", "opened"),
    [
        ("linewatch-strip", ["strip"], strip_settings, "running"),
        ("linewatch-history", ["history"], history_settings, "history_opened"),
        ("linewatch-modbus", ["bridge", "modbus"], _modbus, "service_state"),
        ("linewatch-s7", ["bridge", "s7"], s7_settings, "plc_not_served"),
        ("linewatch-hmi", ["hmi"], _hmi, "service_state"),
        ("linewatch-mqtt", ["bridge", "mqtt"], _mqtt, "broker_unreachable"),
        pytest.param("linewatch-opcua", ["bridge", "opcua"], _opcua, "service_state", marks=pytest.mark.heavy),
    ],
)
def test_the_processes_beside_the_service_run_under_their_filters_of_system_calls(
    unit: str, command: list[str], settings: Callable[[Path], str], opened: str, tmp_path: Path
) -> None:
    """They listen to a service that is not there; libzmq would abort them within a moment of their start."""
    config = tmp_path / "config.toml"
    config.write_text(settings(tmp_path))
    program = [sys.executable, "-m", "linewatch.cli", *command, str(config)]
    with subprocess.Popen(
        [sys.executable, under_filter.__file__, UNITS / f"{unit}.service", *program],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(UNITS.parent)},
    ) as process:
        assert process.stderr is not None
        said = []
        while (line := process.stderr.readline()) and f'"event": "{opened}"' not in line:
            said.append(line)
        said.append(line)
        with suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        process.terminate()
        said += process.stderr.readlines()
        assert process.wait(60) == 0, said
    assert "Operation not permitted" not in "".join(said)
