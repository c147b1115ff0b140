"""The processor: the cores that this process may use, and the instruction set."""

import os
import platform
from pathlib import Path

from linewatch.contracts.manifest import EngineManifest

ISA_BY_FLAG = (  # best first; it decides which kernels a CPU runtime selects, and so the last bits of its results
    ("amx_int8", "amx"),
    ("avx512_vnni", "avx512_vnni"),
    ("avx512f", "avx512"),
    ("avx_vnni", "avx2_vnni"),
    ("avx2", "avx2"),
    ("sse4_2", "sse4.2"),
)


def available_cores(root: Path = Path("/"), process: int = 0) -> int:
    """Return the whole cores that a process may use: its CPU affinity within cgroup quotas (v1, v2); at least 1.

    process: 0: this one.
    """
    cores = len(os.sched_getaffinity(process))
    quotas = [quota for group in cgroups(root, process) if (quota := _quota_cores(group)) is not None]
    return max(1, int(min([cores, *quotas])))


def instruction_set(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the best vector instruction set of this CPU, for an engine's identity: for example `avx512_vnni`."""
    try:
        flags = next(line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")).split()
    except (OSError, StopIteration):
        return platform.machine()
    return next((isa for flag, isa in ISA_BY_FLAG if flag in flags), platform.machine())


def supports_vnni() -> bool:
    """Say whether this CPU adds products of bytes in 32 bits (VNNI). Without it, INT8 kernels can overflow 16 bits."""
    return instruction_set() in ("amx", "avx512_vnni", "avx2_vnni")


def cpu_identity(manifest: EngineManifest, runtime: str) -> str:
    """Return the identity of an engine on this CPU. runtime: its name and version."""
    weights = f"{manifest.name}@{manifest.model.sha256[:12]}"
    return f"{weights}/{runtime}/{manifest.precision}/{instruction_set()}"


def cgroups(root: Path, process: int = 0, controller: str = "cpu") -> list[Path]:
    """Return the folders of the cgroups that limit a process, from its own up to the root. process: 0: this one."""
    try:
        memberships = (root / f"proc/{process or 'self'}/cgroup").read_text().splitlines()
    except OSError:
        return []
    groups: list[Path] = []
    for membership in memberships:
        _, controllers, path = membership.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if controllers else "")
        own = top / path.lstrip("/")
        groups += [own, *(parent for parent in own.parents if parent.is_relative_to(top))]
    return groups


def _quota_cores(group: Path) -> float | None:
    """Return a cgroup's quota in cores; None without one."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text().strip()
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError):
        return None
