"""What is read of a host: from trees as the kernel has them, and from this one."""

import os
import socket
from pathlib import Path

import pytest

from linewatch.doctor import disks
from linewatch.doctor.disks import NeededFolder, look_at_disk, measured_sync_ms
from linewatch.doctor.limits import look_at_limits
from linewatch.doctor.memory import look_at_memory
from linewatch.doctor.needs import HostNeeds
from linewatch.doctor.network import look_at_network
from linewatch.doctor.packages import look_at_packages
from linewatch.doctor.ports import look_at_ports
from linewatch.doctor.processor import look_at_processor
from linewatch.socket_owners import is_listened, listener


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def test_cores_governors_and_nodes_of_a_host_with_two_sockets(tmp_path: Path) -> None:
    files = {"sys/devices/system/node/node0/cpulist": "0-3\n", "sys/devices/system/node/node1/cpulist": "4-7\n"}
    for cpu in range(8):
        place = f"sys/devices/system/cpu/cpu{cpu}"
        files[f"{place}/topology/physical_package_id"] = str(cpu // 4)
        files[f"{place}/topology/core_id"] = str(cpu % 4 // 2)
        files[f"{place}/cpufreq/scaling_governor"] = "powersave\n" if cpu else "performance\n"
    (tmp_path / "sys/devices/system/cpu/cpufreq").mkdir(parents=True)
    facts = look_at_processor(root=tree(tmp_path, files))
    assert (facts.logical, facts.physical) == (8, 4)
    assert facts.governors == {"powersave": 7, "performance": 1}
    assert facts.numa_nodes == ("0-3", "4-7")


def test_memory_within_the_limit_of_its_cgroup(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/meminfo": "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:    8000000 kB\n",
            "proc/vmstat": "nr_free_pages 1\noom_kill 3\n",
            "proc/self/cgroup": "0::/system.slice/linewatch.service\n",
            "sys/fs/cgroup/system.slice/linewatch.service/memory.max": "12000000000\n",
            "sys/fs/cgroup/system.slice/memory.max": "max\n",
        },
    )
    facts = look_at_memory(root=root)
    assert (round(facts.total_mb), round(facts.available_mb), facts.limit_mb, facts.killed) == (16384, 8192, 12000, 3)


def test_socket_buffers_and_overflows(tmp_path: Path) -> None:
    snmp = "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors\nUdp: 10 0 7 3 7\n"
    facts = look_at_network(
        "127.0.0.1", tree(tmp_path, {"proc/sys/net/core/rmem_max": "212992\n", "proc/net/snmp": snmp})
    )
    assert (facts.buffer_bytes, facts.overflowed, facts.camera_nic) == (212992, 7, "lo")
    assert look_at_network("LW01", tmp_path).camera_nic == ""


def test_a_sync_is_measured_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "_SYNCS", 5)
    assert 0 < measured_sync_ms(tmp_path) < 60_000
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_still_to_be_made_is_measured_above_it(tmp_path: Path) -> None:
    facts = look_at_disk(NeededFolder("x", tmp_path / "a" / "b", 1.0))
    assert (facts.place, facts.why) == (tmp_path, "")
    assert facts.free_mb > 0
    assert facts.file_system
    assert not list(tmp_path.iterdir())


def test_a_folder_of_the_kernel_cannot_be_written() -> None:
    facts = look_at_disk(NeededFolder("x", Path("/proc/sys"), 1.0, synced=True))
    assert facts.why
    assert facts.sync_ms is None


def test_the_limits_of_a_process_are_read(tmp_path: Path) -> None:
    lines = "Limit                     Soft Limit           Hard Limit           Units     \n"
    lines += "Max locked memory         8388608              8388608              bytes     \n"
    lines += "Max open files            1024                 524288               files     \n"
    lines += "Max processes             unlimited            unlimited            processes \n"
    facts = look_at_limits(HostNeeds(process=7), tree(tmp_path, {"proc/7/limits": lines}))
    assert (facts.whose, facts.files, facts.locked_kb) == ("process 7", 1024, 8192)
    own = look_at_limits(HostNeeds(process=os.getpid()))
    assert own.whose == f"process {os.getpid()}"
    assert own.files == look_at_limits(HostNeeds()).files


def test_who_listens_on_a_port_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (found,) = look_at_ports(HostNeeds(ports=(("[wire] serve", port),)))
        assert (found.in_use, found.holder) == (True, os.getpid())
        assert found.program
    assert not is_listened(port)
    assert listener(port) is None


def test_the_pins_of_the_base_install_are_known() -> None:
    facts = look_at_packages()
    if not facts.distribution:
        pytest.skip("linewatch is not installed, so that it has no pins")
    assert {"numpy", "onnxruntime", "pyzmq"} <= facts.pinned.keys()
    assert "torch" not in facts.pinned
    assert facts.installed["numpy"]
    assert facts.has_curve
