"""The Debian package on a host of its own: systemd as process 1, install, faults, upgrade, rollback, removal.

`make test-package` runs it; it downloads the wheels and takes some ten minutes.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from private_host import PrivateHost, why_impossible

from tools.package import PYTHON, example, own_version

ROOT = Path(__file__).parents[2]
PRESENT, NEXT = own_version(), "99.0"
SLOWER = 's|^line_rate_hz = .*|line_rate_hz = 300.0|; s|^# runs_on = .*|runs_on = "began"|'
"""For sed: a strip that this machine can inspect beside other tests, and that runs on while the service is down."""


def test_the_example_names_what_the_package_holds() -> None:
    text = example((ROOT / "configs" / "simulator.toml").read_text())
    for line in ("taxonomy = ", "grading = ", "engines_dir = "):
        assert f'\n{line}"/opt/linewatch/' in text


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The package of this version, and the same as a later one."""
    if (why := why_impossible()) is not None:
        pytest.skip(why)
    if not (PYTHON.exists() and shutil.which("dpkg-deb")):
        pytest.skip("needs Debian's python3-venv and dpkg: apt-get install python3-venv dpkg")
    made_before = os.environ.get("LINEWATCH_PACKAGES")  # a folder, for whoever changes these tests
    out = Path(made_before) if made_before else tmp_path_factory.mktemp("packages")
    for version in () if made_before else (PRESENT, NEXT):
        make = [sys.executable, "-m", "tools.package", "--version", version, "--out", str(out)]
        done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return {version: next(out.glob(f"linewatch_{version}_*.deb")) for version in (PRESENT, NEXT)}


@pytest.fixture(scope="module")
def host(packages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateHost]:
    with PrivateHost(tmp_path_factory.mktemp("host")) as host:
        yield host


def installed(host: PrivateHost, package: Path) -> str:
    with package.open("rb"):
        return host.run(f"DEBIAN_FRONTEND=noninteractive dpkg -i --force-confold {package}")


def main_pid(host: PrivateHost) -> str:
    return host.run("systemctl show -P MainPID linewatch")


@pytest.mark.heavy
@pytest.mark.service
@pytest.mark.timeout(1800)
def test_a_life_on_a_host(host: PrivateHost, packages: dict[str, Path]) -> None:
    said = installed(host, packages[PRESENT])
    assert "nothing is started yet" in said
    assert host.run("systemctl is-enabled linewatch", check=False) == "disabled"
    assert "linewatch" in host.run("id linewatch")
    host.run(f"sed -i '{SLOWER}' /etc/linewatch/linewatch.toml")
    host.run("runuser -u linewatch -- linewatch check /etc/linewatch/linewatch.toml")
    host.run("systemctl enable --now linewatch linewatch.target")
    host.wait_for("systemctl is-active linewatch", "active")

    # A process that hangs is killed by the watchdog, and started again.
    hung = main_pid(host)
    host.run(f"kill -STOP {hung}")
    host.wait_for("systemctl show -P NRestarts linewatch", "1")
    host.wait_for("systemctl is-active linewatch", "active")
    assert main_pid(host) != hung

    # Rules are read again without a stop.
    before = main_pid(host)
    host.run("systemctl reload linewatch")
    host.wait_for("journalctl -u linewatch -o cat | grep -c '\"rules_reloaded\"'", "1")
    assert main_pid(host) == before

    # A full disk closes no eye, and is noticed again when it has room.
    host.run("systemctl stop linewatch && mount -t tmpfs -o size=40m,mode=755 tmpfs /var/lib/linewatch")
    host.run("chown linewatch:linewatch /var/lib/linewatch && systemctl start linewatch")
    host.run("dd if=/dev/zero of=/var/lib/linewatch/ballast bs=64k status=none", check=False)
    host.wait_for("journalctl -u linewatch -o cat | grep -c '\"journal_lost\"'", "1")
    assert host.run("systemctl is-active linewatch") == "active"
    host.run("rm /var/lib/linewatch/ballast")
    host.wait_for("journalctl -u linewatch -o cat | grep -c '\"journal_kept_again\"'", "1")
    host.run("systemctl stop linewatch && umount /var/lib/linewatch && systemctl start linewatch")
    host.wait_for("systemctl is-active linewatch", "active")

    # An upgrade disturbs nothing that runs; after a restart the coil goes on with the new version.
    host.run("linewatch backup --out /root/before.tar.gz && linewatch backup verify /root/before.tar.gz")
    running = main_pid(host)
    said = installed(host, packages[NEXT])
    assert "goes on with the version before" in said
    assert main_pid(host) == running
    assert host.run("linewatch --version").endswith(NEXT)
    host.run("systemctl restart linewatch.target")
    host.wait_for("systemctl is-active linewatch", "active")
    assert "coil_goes_on" in host.run(f"journalctl -u linewatch -o cat _PID={main_pid(host)}")

    # Rollback: the package before, over the same state.
    installed(host, packages[PRESENT])
    host.run("systemctl restart linewatch.target")
    host.wait_for("systemctl is-active linewatch", "active")
    assert host.run("linewatch --version").endswith(PRESENT)
    assert "coil_goes_on" in host.run(f"journalctl -u linewatch -o cat _PID={main_pid(host)}")

    # Removal stops it, and leaves the plant's records.
    host.run("dpkg --remove linewatch")
    assert host.run("systemctl is-active linewatch", check=False) in ("inactive", "failed", "unknown")
    assert host.run("test -e /opt/linewatch/.venv; echo $?") == "1"
    assert "kept: /var/lib/linewatch" in host.run("dpkg --purge linewatch")
    assert host.run("ls /var/lib/linewatch/out/journal | wc -l", check=False) != "0"


@pytest.mark.skipif(os.getuid() != 0, reason="asks what only root may ask")
@pytest.mark.heavy
@pytest.mark.service
@pytest.mark.timeout(1800)
def test_every_unit_is_shut_in(host: PrivateHost, packages: dict[str, Path]) -> None:
    installed(host, packages[PRESENT])
    for unit in sorted(path.name for path in (ROOT / "systemd").glob("linewatch*.service")):
        level = host.run(f"systemd-analyze security --no-pager {unit} | tail -1")
        assert float(level.split(":")[1].split()[0]) <= 2.0, f"{unit}: {level}"
