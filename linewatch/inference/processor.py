"""What this machine lets us use: cores and instruction set."""

import os
import platform
from pathlib import Path

from linewatch.contracts.manifest import EngineManifest

ISA_BY_FLAG = (  # best first; the kernels that a CPU runtime chooses, and so the last bits of its results, follow it
    ("amx_int8", "amx"),
    ("avx512_vnni", "avx512_vnni"),
    ("avx512f", "avx512"),
    ("avx_vnni", "avx2_vnni"),
    ("avx2", "avx2"),
    ("sse4_2", "sse4.2"),
)


def available_cores(root: Path = Path("/")) -> int:
    """Whole cores that this process may use: its CPU affinity, cut by the cgroup's quota (v1 or v2). At least 1."""
    cores = len(os.sched_getaffinity(0))
    quotas = [quota for group in _cgroups(root) if (quota := _quota_cores(group)) is not None]
    return max(1, int(min([cores, *quotas])))


def instruction_set(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The widest vector instruction set of this CPU, for an engine's identity: for example `avx512_vnni`."""
    try:
        flags = next(line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")).split()
    except (OSError, StopIteration):
        return platform.machine()
    return next((isa for flag, isa in ISA_BY_FLAG if flag in flags), platform.machine())


def supports_vnni() -> bool:
    """Whether this CPU adds up products of bytes in 32 bits (VNNI). Without, INT8 kernels may overflow in 16 bits."""
    return instruction_set() in ("amx", "avx512_vnni", "avx2_vnni")


def cpu_identity(manifest: EngineManifest, runtime: str) -> str:
    """The identity of an engine on this CPU under `runtime` (its name and version)."""
    weights = f"{manifest.name}@{manifest.model.sha256[:12]}"
    return f"{weights}/{runtime}/{manifest.precision}/{instruction_set()}"


def _cgroups(root: Path) -> list[Path]:
    """The folders of the cgroups that bound this process' CPU time, from its own up to the top."""
    try:
        memberships = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    groups: list[Path] = []
    for membership in memberships:
        _, controllers, path = membership.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        own = top / path.lstrip("/")
        groups += [own, *(parent for parent in own.parents if parent.is_relative_to(top))]
    return groups


def _quota_cores(group: Path) -> float | None:
    """A cgroup's quota in cores; None when it sets none."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text().strip()
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError):
        return None
