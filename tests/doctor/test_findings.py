"""Each subject's judgement, fed with facts: what is a fault, what it costs, and the command that mends it."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from linewatch.capture.cameras.genicam import GenicamSource
from linewatch.check.units import Unit
from linewatch.contracts.access import Role
from linewatch.doctor.calibrations import CalibrationFacts, judge_calibrations
from linewatch.doctor.clock import judge_clock
from linewatch.doctor.disks import DiskFacts, judge_disk
from linewatch.doctor.finding import FindingLevel, HostFinding
from linewatch.doctor.gpu import judge_gpus, read_gpus
from linewatch.doctor.keys import AllowListFacts, SecretKeyFacts, judge_keys
from linewatch.doctor.limits import LimitFacts, judge_limits
from linewatch.doctor.memory import MemoryFacts, judge_memory
from linewatch.doctor.needs import HostNeeds, NeededFolder
from linewatch.doctor.network import NetworkFacts, NicFacts, judge_network
from linewatch.doctor.packages import PackageFacts, judge_packages
from linewatch.doctor.permissions import OwnershipFacts, judge_ownership
from linewatch.doctor.ports import PortFacts, judge_ports
from linewatch.doctor.processor import ProcessorFacts, judge_processor
from linewatch.wire.access.allow_list import AllowedKey

OK, NOTE, WARNING, FAULT = FindingLevel
HOST = HostNeeds()
CAMERA = HostNeeds(Path("/etc/l.toml"), genicam=GenicamSource(type="genicam", camera="10.0.0.5"))
CORES = ProcessorFacts(16, 8, 16, 16, "avx512_vnni", True, {"performance": 16}, ("0-15",))
JOURNAL = NeededFolder("[journal] dir", Path("/var/lib/linewatch/journal"), 512, synced=True)
DISK = DiskFacts(JOURNAL, JOURNAL.path, 9_000, 100, 10**6, "ext4", 3.0)
ETH = NicFacts("eth1", "10.0.0.1", 9000, (4096, 4096))
NETWORK = NetworkFacts((NicFacts("lo", "127.0.0.1", 65536), ETH), "eth1", 32 << 20)
PACKAGES = PackageFacts("1.0", "1.0", "3.11", {"numpy": "2", "pyzmq": "27"}, {"numpy": "2"}, (4, 3, 5), True)
UNIT = Unit("linewatch.service", Path("/var/lib/linewatch"), "linewatch")
TODAY = date(2026, 11, 30)


def worst(findings: Any) -> HostFinding:
    """The first of the gravest findings; each that is not ok says what it costs and what to do."""
    found = list(findings)
    for one in found:
        assert one.found
        assert (one.level is OK) == (one.costs == "") == (one.mend == "")
    return max(found, key=lambda one: list(FindingLevel).index(one.level))


@pytest.mark.parametrize(
    ("facts", "needs", "level", "subject", "mend"),
    [
        (CORES, HOST, OK, "cores", ""),
        (replace(CORES, governors={"powersave": 4, "performance": 12}), HOST, WARNING, "governor", "cpupower"),
        (replace(CORES, governors={}), HOST, OK, "cores", ""),
        (replace(CORES, numa_nodes=("0-7", "8-15")), HOST, NOTE, "NUMA", "CPUAffinity=0-7"),
        (replace(CORES, usable=1, affinity=1), HOST, WARNING, "cores", "CPUQuota="),
        (replace(CORES, usable=4), HOST, NOTE, "cores", "CPUQuota="),
        (CORES, HostNeeds(workers=17), WARNING, "cores", "workers = 0"),
        (replace(CORES, has_vnni=False), HostNeeds(precision="int8"), NOTE, "instruction set", "VNNI"),
    ],
)  # fmt: skip
def test_processor(facts: ProcessorFacts, needs: HostNeeds, level: FindingLevel, subject: str, mend: str) -> None:
    found = worst(judge_processor(facts, needs))
    assert (found.level, found.subject) == (level, subject)
    assert mend in found.mend


@pytest.mark.parametrize(
    ("facts", "needs", "level"),
    [
        (MemoryFacts(64_000, 60_000), HostNeeds(ring_mb=100), OK),
        (MemoryFacts(64_000, 60_000, limit_mb=1_000), HostNeeds(ring_mb=100), FAULT),
        (MemoryFacts(64_000, 100), HostNeeds(ring_mb=100), FAULT),
        (MemoryFacts(64_000, 100), HostNeeds(ring_mb=100, process=7), OK),
        (MemoryFacts(64_000, 60_000, killed=2), HOST, WARNING),
    ],
)
def test_memory(facts: MemoryFacts, needs: HostNeeds, level: FindingLevel) -> None:
    assert worst(judge_memory(facts, needs)).level is level


@pytest.mark.parametrize(
    ("facts", "needs", "level", "mend"),
    [
        (NETWORK, CAMERA, OK, ""),
        (replace(NETWORK, buffer_bytes=212_992), CAMERA, WARNING, "net.core.rmem_max=33554432"),
        (replace(NETWORK, buffer_bytes=212_992), HOST, OK, ""),
        (replace(NETWORK, overflowed=12), CAMERA, NOTE, "nstat"),
        (replace(NETWORK, nics=(replace(ETH, mtu=1500),)), CAMERA, NOTE, "ip link set dev eth1 mtu 9000"),
        (replace(NETWORK, nics=(replace(ETH, receive_ring=(256, 4096)),)), CAMERA, NOTE, "ethtool -G eth1 rx 4096"),
        (replace(NETWORK, nics=(replace(ETH, lost=5),)), CAMERA, NOTE, "ip -s link"),
        (
            replace(NETWORK, nics=(replace(ETH, mtu=1500),)),
            replace(CAMERA, genicam=GenicamSource(type="genicam", packet_size=8000)),
            FAULT,
            "mtu 8000",
        ),
    ],
)
def test_network(facts: NetworkFacts, needs: HostNeeds, level: FindingLevel, mend: str) -> None:
    found = worst(judge_network(facts, needs))
    assert found.level is level
    assert mend in found.mend


def test_of_a_camera_known_by_its_serial_every_interface_is_told_but_loopback() -> None:
    nics = (NicFacts("lo", "127.0.0.1", 65536), NicFacts("eth0", "10.1.0.1", 1500), ETH)
    told = [one.subject for one in judge_network(replace(NETWORK, nics=nics, camera_nic=""), CAMERA)]
    assert told == ["socket buffer", "interface eth0", "interface eth1"]


SAID = "NVIDIA H200, 580.159.04, 143771, 512, 41, Enabled\nTesla, 550.1, [N/A], [N/A], 90, Disabled\n"


def test_gpus() -> None:
    cool, hot = read_gpus(SAID)
    assert (cool.total_mb, cool.persistent, hot.used_mb, hot.temperature_c) == (143771, True, None, 90)
    tensorrt = HostNeeds(backend="tensorrt")
    assert worst(judge_gpus((cool,), "", tensorrt)).level is OK
    assert worst(judge_gpus((cool, hot), "", tensorrt)).level is WARNING
    assert "nvidia-smi -pm 1" in worst(judge_gpus((replace(cool, persistent=False),), "", tensorrt)).mend
    assert worst(judge_gpus((cool,), "", HostNeeds(backend="onnxruntime"))).level is NOTE
    assert worst(judge_gpus((), "nvidia-smi is not installed", HOST)).level is OK
    assert worst(judge_gpus((), "nvidia-smi is not installed", tensorrt)).level is FAULT


@pytest.mark.parametrize(
    ("facts", "level", "subject"),
    [
        (DISK, OK, "disk of [journal] dir"),
        (replace(DISK, free_mb=100), FAULT, "disk of [journal] dir"),
        (replace(DISK, free_mb=450), OK, "disk of [journal] dir"),
        (replace(DISK, file_system="tmpfs"), WARNING, "disk of [journal] dir"),
        (replace(DISK, free_files=3), WARNING, "disk of [journal] dir"),
        (replace(DISK, free_files=None), OK, "disk of [journal] dir"),
        (replace(DISK, why="Read-only file system"), FAULT, "disk of [journal] dir"),
        (replace(DISK, sync_ms=80), WARNING, "sync of [journal] dir"),
        (replace(DISK, file_system="nfs4"), NOTE, "sync of [journal] dir"),
        (replace(DISK, sync_ms=None), OK, "disk of [journal] dir"),
    ],
)
def test_disk(facts: DiskFacts, level: FindingLevel, subject: str) -> None:
    found = worst(judge_disk(facts, HOST))
    assert (found.level, found.subject) == (level, subject)


def test_clock() -> None:
    assert [worst(judge_clock(one)).level for one in (True, None, False)] == [OK, NOTE, WARNING]


@pytest.mark.parametrize(
    ("facts", "needs", "level"),
    [
        (LimitFacts("this shell", 8192, 8192), HOST, OK),
        (LimitFacts("this shell", None, None), HostNeeds(backend="tensorrt"), OK),
        (LimitFacts("this shell", 1024, None), HOST, NOTE),
        (LimitFacts("process 7", 1024, None), HostNeeds(process=7), WARNING),
        (LimitFacts("this shell", 8192, 8192), HostNeeds(backend="tensorrt"), NOTE),
    ],
)
def test_limits(facts: LimitFacts, needs: HostNeeds, level: FindingLevel) -> None:
    assert worst(judge_limits(facts, needs)).level is level


FOLDER = OwnershipFacts("[journal] dir", Path("/j"), "linewatch", 0o750)
FILE = OwnershipFacts("configuration", Path("/c.toml"), "root", 0o644, is_folder=False, is_written=False)


@pytest.mark.parametrize(
    ("facts", "needs", "level", "mend"),
    [
        (FOLDER, HOST, OK, ""),
        (replace(FOLDER, mode=0o777), HOST, FAULT, "chmod o-w /j"),
        (replace(FOLDER, mode=0o1777), HOST, OK, ""),
        (replace(FOLDER, owner="root"), HostNeeds(unit=UNIT), WARNING, "chown -R linewatch /j"),
        (replace(FOLDER, owner="root", mode=0o770), HostNeeds(unit=UNIT), OK, ""),
        (FILE, HostNeeds(unit=UNIT), OK, ""),
        (FILE, HostNeeds(unit=UNIT, holds_password=True), WARNING, "chmod 640 /c.toml"),
        (replace(FILE, mode=0o640), HostNeeds(holds_password=True), OK, ""),
    ],
)
def test_permissions(facts: OwnershipFacts, needs: HostNeeds, level: FindingLevel, mend: str) -> None:
    found = worst(judge_ownership((facts,), needs))
    assert found.level is level
    assert mend in found.mend


@pytest.mark.parametrize(
    ("facts", "process", "level"),
    [
        (PortFacts("[wire] publish", 5570, False), None, OK),
        (PortFacts("[wire] publish", 5570, True, 7, "linewatch"), 7, OK),
        (PortFacts("[wire] publish", 5570, True), 7, OK),
        (PortFacts("[wire] publish", 5570, False), 7, NOTE),
        (PortFacts("[wire] publish", 5570, True, 8, "nginx"), None, FAULT),
        (PortFacts("[wire] publish", 5570, True, 8, "nginx"), 7, FAULT),
        (PortFacts("[wire] publish", 5570, True), None, FAULT),
    ],
)
def test_ports(facts: PortFacts, process: int | None, level: FindingLevel) -> None:
    assert worst(judge_ports((facts,), HostNeeds(process=process))).level is level


@pytest.mark.parametrize(
    ("secret", "level"),
    [
        (SecretKeyFacts(Path("/k/server.key_secret"), 0o600, 10), OK),
        (SecretKeyFacts(Path("/k/server.key_secret"), 0o640, 10), OK),
        (SecretKeyFacts(Path("/k/server.key_secret"), 0o644, 10), FAULT),
        (SecretKeyFacts(Path("/k/server.key_secret"), 0o600, 900), NOTE),
        (SecretKeyFacts(Path("/k/server.key_secret"), why="No such file or directory"), FAULT),
    ],
)
def test_a_secret_key(secret: SecretKeyFacts, level: FindingLevel) -> None:
    assert worst(judge_keys((secret,), (), TODAY)).level is level


@pytest.mark.parametrize(
    ("expires", "level"),
    [
        (None, OK),
        (date(2027, 6, 1), OK),
        (date(2026, 12, 15), WARNING),
        (date(2026, 11, 30), WARNING),
        (date(2026, 11, 29), WARNING),
    ],
)
def test_an_allowed_key_by_its_last_day(expires: date | None, level: FindingLevel) -> None:
    one = AllowedKey("hmi", b"k", Role.OPERATOR, None, expires)
    found = worst(judge_keys((), (AllowListFacts(Path("/k/clients"), (one,)),), TODAY))
    assert found.level is level
    if expires == date(2026, 11, 30):
        assert "in 0 days" in found.found  # it may still connect today
    if expires == date(2026, 11, 29):
        assert found.found == "expired on 2026-11-29"


def test_a_faulty_or_unreadable_list_of_keys_is_a_fault() -> None:
    bad = AllowedKey("hmi", fault="hmi.key is no certificate")
    assert worst(judge_keys((), (AllowListFacts(Path("/k"), (bad,)),), TODAY)).level is FAULT
    assert worst(judge_keys((), (AllowListFacts(Path("/k"), why="gone"),), TODAY)).level is FAULT


CALIBRATED = HostNeeds(Path("/c.toml"), calibrations=Path("/cal"), serial="LW01", width_px=1600)
CALIBRATION = CalibrationFacts(Path("/cal/LW01.json"), "LW01", (("flat_field", 30), ("geometry", 300)), 1600)


@pytest.mark.parametrize(
    ("facts", "level", "mend"),
    [
        ((CALIBRATION,), OK, ""),
        ((), NOTE, "linewatch calibrate flat-field /c.toml"),
        ((replace(CALIBRATION, ages_days=(("flat_field", 200),)),), NOTE, "linewatch calibrate flat-field /c.toml"),
        ((replace(CALIBRATION, ages_days=(("geometry", 800),)),), NOTE, "linewatch calibrate geometry /c.toml"),
        ((replace(CALIBRATION, width_px=2048),), WARNING, "calibrate it again"),
        ((replace(CALIBRATION, serial="OTHER", width_px=2048),), OK, ""),
        ((replace(CALIBRATION, why="is cut"),), FAULT, "/cal/LW01.json.old"),
    ],
)
def test_calibrations(facts: tuple[CalibrationFacts, ...], level: FindingLevel, mend: str) -> None:
    found = worst(judge_calibrations(facts, CALIBRATED))
    assert found.level is level
    assert mend in found.mend


@pytest.mark.parametrize(
    ("facts", "level", "subject", "mend"),
    [
        (PACKAGES, OK, "versions", ""),
        (replace(PACKAGES, distribution="0.9"), WARNING, "linewatch twice", "pip uninstall linewatch"),
        (replace(PACKAGES, distribution=""), OK, "versions", ""),
        (
            replace(PACKAGES, installed={"opencv-python": "5", "opencv-python-headless": "5"}),
            FAULT,
            "packages",
            "pip uninstall opencv-python, then",
        ),
        (
            replace(PACKAGES, installed={"onnxruntime": "1", "onnxruntime-gpu": "1"}),
            FAULT,
            "packages",
            "pip uninstall onnxruntime-gpu, then",
        ),
        (replace(PACKAGES, installed={"opencv-python": "5"}), OK, "versions", ""),
        (replace(PACKAGES, installed={"numpy": "3"}), NOTE, "untested versions", "constraints.txt"),
        (replace(PACKAGES, has_curve=False), FAULT, "libzmq", "pyzmq"),
        (replace(PACKAGES, libzmq=(4, 3, 1)), WARNING, "libzmq", "pyzmq"),
    ],
)
def test_packages(facts: PackageFacts, level: FindingLevel, subject: str, mend: str) -> None:
    found = worst(judge_packages(facts))
    assert (found.level, found.subject) == (level, subject)
    assert mend in found.mend
