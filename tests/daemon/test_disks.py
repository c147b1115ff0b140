"""Disks are measured, and a disk that hangs delays nothing else."""

import threading
from pathlib import Path

from linewatch.config.decision import AlarmSettings, SystemAlarmSettings
from linewatch.contracts.alarm import HostState
from linewatch.daemon.host_monitor import DiskMonitor, DiskSpace, HostMonitor, measure_disks
from linewatch.daemon.wall_clock import WallClock
from linewatch.decision.alarms.system import DISK_LOW, host_text, system_rules
from linewatch.wire.schema import BackendState, BackendStatus

FULL = Path("/proc")  # of which the kernel says that nothing is free


class SettableClock:
    ns = 0

    def now_ns(self) -> int:
        return self.ns


def looked(tmp_path: Path, *folders: Path) -> HostState | None:
    backend = BackendStatus(name="openvino", state=BackendState.SERVING)
    found = min(measure_disks(tmp_path, folders))
    return HostMonitor(
        SettableClock(),
        lambda: (found.free_mb, found.name),
        lambda: 0.0,
        lambda: backend,
        lambda: None,
        lambda: None,
        lambda: None,
        lambda: None,
        lambda: "",
        WallClock(),
        live=True,
    ).read()


def test_disk_low_names_the_fullest_disk(tmp_path: Path) -> None:
    settings = SystemAlarmSettings(disk_free_below_mb=1e-3)
    assert DISK_LOW in [rule.name for rule in system_rules(settings, AlarmSettings())]
    alone, both = looked(tmp_path), looked(tmp_path, FULL)
    assert alone.disk_free_mb > 1
    assert host_text(DISK_LOW, alone, settings, active=False)[0] is False
    assert host_text(DISK_LOW, both, settings, active=False) == (True, "0 MB free on the disk of /proc")


def test_disks_are_named_in_a_configuration_file() -> None:
    assert SystemAlarmSettings.model_validate({"disks": ["/var/lib/a", "/srv/b"]}).disks == (
        Path("/var/lib/a"),
        Path("/srv/b"),
    )


def test_a_folder_that_is_not_there_hides_no_other(tmp_path: Path) -> None:
    own, other = measure_disks(tmp_path, [tmp_path / "nowhere", FULL])
    assert (own.name, other.name) == ("the journal's disk", "the disk of /proc")
    assert own.size_mb >= own.free_mb > 0
    assert measure_disks(tmp_path / "nowhere") == ()


def test_a_disk_that_hangs_is_not_known_and_nobody_waits_for_it(tmp_path: Path) -> None:
    asked, answers = threading.Semaphore(0), threading.Semaphore(0)

    def measure() -> tuple[DiskSpace, ...]:
        asked.release()
        answers.acquire()
        return measure_disks(tmp_path)

    clock = SettableClock()
    with DiskMonitor(measure, clock) as disks:
        asked.acquire()
        assert disks.fullest() == (None, "")  # not answered yet
        answers.release()
        asked.acquire()  # asked again: the first answer is in
        assert disks.fullest()[0] > 0
        clock.ns += 60_000_000_000  # the second never comes
        assert disks.fullest() == (None, "")
        answers.release(2)
