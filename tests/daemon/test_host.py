"""What the host tells: the fullest of the disks that are watched."""

from pathlib import Path

from linewatch.capture.clock import MonotonicClock
from linewatch.config.decision import AlarmSettings, SystemAlarmSettings
from linewatch.daemon.host import Host
from linewatch.decision.system_alarms import DISK_LOW, host_text, system_rules
from linewatch.wire.schema import BackendState, BackendStatus

FULL = Path("/proc")  # of which the kernel says that nothing is free


def looked(tmp_path: Path, *disks: Path):
    backend = BackendStatus(name="openvino", state=BackendState.SERVING)
    return Host(MonotonicClock(), tmp_path, lambda: 0.0, lambda: backend, live=True, disks=disks).look()


def test_disk_low_names_the_fullest_disk(tmp_path: Path) -> None:
    settings = SystemAlarmSettings(disk_free_below_mb=1e-3)
    assert DISK_LOW in [rule.name for rule in system_rules(settings, AlarmSettings())]
    alone, both = looked(tmp_path), looked(tmp_path, FULL)
    assert alone.disk_free_mb > 1
    assert host_text(DISK_LOW, alone, settings, active=False)[0] is False
    assert host_text(DISK_LOW, both, settings, active=False) == (True, "0 MB free on the disk of /proc")


def test_a_folder_that_is_not_there_hides_no_other(tmp_path: Path) -> None:
    assert looked(tmp_path, tmp_path / "nowhere", FULL).disk == "the disk of /proc"
    assert looked(tmp_path / "nowhere").disk_free_mb is None
