"""The cores that a process may use, and their instruction set."""

import os
from pathlib import Path

import pytest

from linewatch.inference.processor import available_cores, instruction_set


def _cgroup(root: Path, membership: str, files: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(membership)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_affinity_bounds_the_cores() -> None:
    whole = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(whole)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, whole)


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        ("0::/box\n", {"box/cpu.max": "200000 100000\n"}, 2),
        ("0::/box/inner\n", {"box/inner/cpu.max": "max 100000\n", "box/cpu.max": "150000 100000\n"}, 1),
        ("0::/box\n", {"box/cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {}, None),
        (
            "4:cpu,cpuacct:/box\n3:memory:/box\n",
            {"cpu/box/cpu.cfs_quota_us": "200000\n", "cpu/box/cpu.cfs_period_us": "100000\n"},
            2,
        ),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
    ],
)
def test_a_cgroup_quota_bounds_the_cores(
    membership: str, files: dict[str, str], cores: int | None, tmp_path: Path
) -> None:
    mine = len(os.sched_getaffinity(0))
    root = _cgroup(tmp_path, membership, files)
    assert available_cores(root) == (mine if cores is None else min(mine, cores))


def test_the_instruction_set_is_the_widest_flag(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nflags : fpu sse4_2 avx2 avx512f avx512_vnni\n")
    assert instruction_set(cpuinfo) == "avx512_vnni"
    cpuinfo.write_text("flags : fpu sse4_2 avx2\n")
    assert instruction_set(cpuinfo) == "avx2"
    assert instruction_set(tmp_path / "none") == os.uname().machine
