"""Main memory: room for the frame ring and the camera's buffers, and processes that the kernel ended for lack of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from linewatch.doctor.finding import HostFinding, fault, fine, warning
from linewatch.doctor.needs import HostNeeds
from linewatch.doctor.processor import text
from linewatch.inference.processor import cgroups

_BESIDE_RING_MB = 1500.0
"""What a service takes without its frames: interpreter, runtimes, engines, messages held for a slow disk."""


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """limit_mb: of the process' cgroups; None: there is none. killed: processes ended for lack of memory since boot."""

    total_mb: float
    available_mb: float
    limit_mb: float | None = None
    killed: int = 0


def look_at_memory(process: int | None = None, root: Path = Path("/")) -> MemoryFacts:
    """Return the facts, as they hold for a process; None: for this one."""
    kilobytes = dict(line.split(":", 1) for line in text(root / "proc/meminfo").splitlines() if ":" in line)
    events = dict(line.split(" ", 1) for line in text(root / "proc/vmstat").splitlines() if " " in line)
    names = ("memory.max", "memory.limit_in_bytes")
    groups = cgroups(root, process or 0, "memory")
    limits = [int(found) / 1e6 for group in groups for name in names if (found := text(group / name)).isdecimal()]
    return MemoryFacts(
        _megabytes(kilobytes.get("MemTotal")),
        _megabytes(kilobytes.get("MemAvailable")),
        min((limit for limit in limits if limit < 1e9), default=None),
        int(events.get("oom_kill", "0")),
    )


def judge_memory(facts: MemoryFacts, needs: HostNeeds) -> Iterator[HostFinding]:
    """Judge whether what the configuration holds in memory fits."""
    found = f"{facts.total_mb / 1e3:.1f} GB, {facts.available_mb / 1e3:.1f} GB available"
    if facts.limit_mb is not None:
        found += f", limited to {facts.limit_mb / 1e3:.1f} GB"
    room_mb = min(facts.available_mb, facts.limit_mb if facts.limit_mb is not None else facts.available_mb)
    needed_mb = needs.ring_mb + _BESIDE_RING_MB
    if needs.ring_mb:
        found += f"; the frames in flight take {needs.ring_mb:.0f} MB"
    if needs.ring_mb and needs.process is None and room_mb < needed_mb:
        yield fault(
            "memory",
            f"{found}, of about {needed_mb:.0f} MB in all",
            "the kernel ends the service when it is full, in the middle of a coil",
            "lower [capture] ring_slots, end other programs, or fit more memory",
        )
    else:
        yield fine("memory", found)
    if facts.killed:
        yield warning(
            "out of memory",
            f"the kernel ended {facts.killed} processes for lack of memory since the host started",
            "if linewatch was one of them, strip passed uninspected until it was back",
            "journalctl -k -g 'out of memory' names them",
        )


def _megabytes(told: str | None) -> float:
    return int(told.split()[0]) * 1024 / 1e6 if told else 0.0
