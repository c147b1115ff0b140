"""The shipped units are such that systemd accepts them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
UNIT = UNITS / "linewatch.service"


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


@pytest.mark.parametrize("unit", sorted(UNITS.glob("*.service")), ids=lambda unit: unit.stem)
def test_systemd_never_gives_a_unit_up(unit: Path) -> None:
    """A cause that lasts longer than a few starts, such as a full disk, must not end the inspection for good."""
    lines = unit.read_text().splitlines()
    assert "Restart=always" in lines
    assert "StartLimitIntervalSec=0" in lines
