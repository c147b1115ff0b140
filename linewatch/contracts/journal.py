"""Whether what is decided reaches the journal's disk."""

from dataclasses import dataclass
from enum import StrEnum


class JournalState(StrEnum):
    """Whether decisions reach the journal's disk."""

    KEPT = "kept"
    LATE = "late"  # the disk is slow or hangs: decisions are published before they are on it
    LOST = "lost"  # the disk refuses: decisions are held in memory, and the oldest are dropped beyond its bound


@dataclass(frozen=True, slots=True)
class KeptState:
    """The state of the journal. held: records in memory that are not on disk. dropped: records that never will be."""

    state: JournalState
    why: str | None  # None: kept
    since_ns: int
    held: int
    held_bytes: int
    dropped: int
