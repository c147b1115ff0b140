"""The limits that the kernel sets a process: open files, locked memory, core dumps."""

import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from linewatch.doctor.finding import HostFinding, fine, note, warning
from linewatch.doctor.needs import HostNeeds
from linewatch.doctor.processor import text

_ENOUGH_FILES = 4096
"""A client takes three descriptors, and an engine's runtime, the journal and a camera some dozens."""
_PINNED_KB = 64 << 10


@dataclass(frozen=True, slots=True)
class LimitFacts:
    """whose: the process or unit whose limits they are. A limit that there is not is None."""

    whose: str
    files: int | None
    locked_kb: int | None


def look_at_limits(needs: HostNeeds, root: Path = Path("/")) -> LimitFacts:
    """Return the limits of the process that runs the configuration; else those of this command."""
    if needs.process is not None and (found := _limits_of(text(root / f"proc/{needs.process}/limits"))):
        return LimitFacts(f"process {needs.process}", found.get("Max open files"), _kb(found.get("Max locked memory")))
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    locked, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return LimitFacts("this shell", _bounded(files), _kb(_bounded(locked)))


def judge_limits(facts: LimitFacts, needs: HostNeeds) -> Iterator[HostFinding]:
    """Judge open files, and locked memory where a GPU needs it."""
    found = f"{_told(facts.files)} open files for {facts.whose}"
    if facts.files is not None and facts.files < _ENOUGH_FILES:
        mend = f"sudo systemctl edit {needs.service}, then [Service] LimitNOFILE=8192, and restart it"
        costs = "clients beyond it are refused, and a crowd of them keeps the journal from opening its next segment"
        if needs.process is None:
            yield note(
                "open files",
                f"{found}; the shipped units set 8192",
                costs,
                f"for a start by hand: ulimit -n {_ENOUGH_FILES}",
            )
        else:
            yield warning("open files", f"{found}, expected {_ENOUGH_FILES} or more", costs, mend)
    else:
        yield fine("open files", found)
    told = f"{_told(facts.locked_kb)} kB of locked memory for {facts.whose}"
    if needs.backend == "tensorrt" and facts.locked_kb is not None and facts.locked_kb < _PINNED_KB:
        yield note(
            "locked memory",
            told,
            "some drivers refuse to pin the buffers from which tiles are copied to the GPU, and it does not start",
            f"sudo systemctl edit {needs.service}, then [Service] LimitMEMLOCK=infinity",
        )
    else:
        yield fine("locked memory", told)


def _limits_of(said: str) -> dict[str, int | None]:
    """Return the soft limits that /proc/PID/limits tells; None: unlimited."""
    found: dict[str, int | None] = {}
    for line in said.splitlines()[1:]:
        soft = line[26:].split()[0] if len(line) > 26 else ""
        if soft.isdecimal() or soft == "unlimited":
            found[line[:26].strip()] = int(soft) if soft.isdecimal() else None
    return found


def _bounded(limit: int) -> int | None:
    return None if limit == resource.RLIM_INFINITY else limit


def _kb(limit: int | None) -> int | None:
    return None if limit is None else limit // 1024


def _told(limit: int | None) -> str:
    return "any number of" if limit is None else str(limit)
