"""The processor: how many cores linewatch may use, how fast they run, and where their memory lies."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from linewatch.doctor.finding import HostFinding, fine, note, warning
from linewatch.doctor.needs import HostNeeds
from linewatch.inference.processor import available_cores, instruction_set, supports_vnni


@dataclass(frozen=True, slots=True)
class ProcessorFacts:
    """usable: whole cores within affinity and cgroup quotas. governors: cores by governor; empty: the host tells none.

    numa_nodes: the cores of each memory node, as the kernel lists them.
    """

    logical: int
    physical: int
    affinity: int
    usable: int
    instruction_set: str
    has_vnni: bool
    governors: Mapping[str, int] = field(default_factory=dict)
    numa_nodes: tuple[str, ...] = ()


def look_at_processor(process: int | None = None, root: Path = Path("/")) -> ProcessorFacts:
    """Return the facts, as they hold for a process; None: for this one."""
    cpus = [path for path in (root / "sys/devices/system/cpu").glob("cpu[0-9]*") if (path / "topology").is_dir()]
    cores = {(text(path / "topology/physical_package_id"), text(path / "topology/core_id")) for path in cpus}
    governors = [found for path in cpus if (found := text(path / "cpufreq/scaling_governor"))]
    nodes = sorted((root / "sys/devices/system/node").glob("node[0-9]*"))
    return ProcessorFacts(
        logical=len(cpus) or os.cpu_count() or 1,
        physical=len(cores) or os.cpu_count() or 1,
        affinity=len(os.sched_getaffinity(process or 0)),
        usable=available_cores(root, process or 0),
        instruction_set=instruction_set(root / "proc/cpuinfo"),
        has_vnni=supports_vnni(),
        governors=Counter(governors),
        numa_nodes=tuple(found for node in nodes if (found := text(node / "cpulist"))),
    )


def judge_processor(facts: ProcessorFacts, needs: HostNeeds) -> Iterator[HostFinding]:
    """Judge cores, governor and memory nodes."""
    yield _cores(facts, needs)
    slow = {name: cores for name, cores in facts.governors.items() if name != "performance"}
    if slow:
        told = ", ".join(f"{name} on {cores} cores" for name, cores in slow.items())
        yield warning(
            "governor",
            f"{told}, expected performance",
            "cores slow down between frames: the first tiles of the next one come late, and are shed where they would "
            "miss [inference] deadline_ms",
            "sudo cpupower frequency-set -g performance",
        )
    elif facts.governors:
        yield fine("governor", f"performance on {facts.governors['performance']} cores")
    else:
        yield fine("governor", "the kernel tells none: a virtual machine, or a fixed frequency")
    if len(facts.numa_nodes) > 1:
        told = "; ".join(f"node {number}: cores {cores}" for number, cores in enumerate(facts.numa_nodes))
        yield note(
            "NUMA",
            f"{len(facts.numa_nodes)} memory nodes ({told})",
            "workers whose frames lie in the other node's memory run slower, and how much slower changes from start to "
            "start",
            f"keep the service on one node: sudo systemctl edit {needs.service}, then [Service] "
            f"CPUAffinity={facts.numa_nodes[0]} NUMAPolicy=bind NUMAMask=0, each on a line",
        )
    else:
        yield fine("NUMA", "one memory node")
    if needs.precision == "int8" and not facts.has_vnni:
        yield note(
            "instruction set",
            f"{facts.instruction_set}, without VNNI",
            "INT8 engines are no faster here than FP32, and the service takes FP32",
            "a processor with VNNI (Intel since Ice Lake, AMD since Zen 4), where the line needs more tiles a second",
        )


def _cores(facts: ProcessorFacts, needs: HostNeeds) -> HostFinding:
    found = f"{facts.logical} logical, {facts.physical} physical; {facts.usable} usable"
    if facts.affinity < facts.logical:
        found += f", affinity {facts.affinity}"
    if facts.usable < facts.affinity:
        found += ", limited by a cgroup quota"
    found += f"; {facts.instruction_set}"
    if needs.workers > facts.usable:
        return warning(
            "cores",
            f"{found}; [inference] workers = {needs.workers}",
            "workers take cores from each other and from capture: tiles come late, lines are missed (overload)",
            "set [inference] workers = 0 (one for each usable core), or lift the quota: "
            f"sudo systemctl edit {needs.service}, then CPUQuota= and CPUAffinity=",
        )
    if facts.usable < 2:
        return warning(
            "cores",
            found,
            "capture, decision and engines share one core: lines are missed while an engine runs",
            f"give it more: sudo systemctl edit {needs.service}, then CPUQuota= and CPUAffinity=, or a larger host",
        )
    if facts.usable < facts.logical:
        return note(
            "cores",
            found,
            f"engines have {facts.usable} of {facts.logical} cores",
            f"if that is not intended: sudo systemctl edit {needs.service}, then CPUQuota= and CPUAffinity=",
        )
    return fine("cores", found)


def text(path: Path) -> str:
    """Return the line that a file of the kernel holds; "" where there is none."""
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
