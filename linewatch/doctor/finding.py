"""What was found of the host: how good it is, what it costs the mill, and the command that mends it."""

from dataclasses import dataclass
from enum import StrEnum


class FindingLevel(StrEnum):
    """How good something is, in ascending order of need."""

    OK = "ok"
    NOTE = "note"  # worth to know
    WARNING = "warning"  # strip is missed, or records are lost, sooner or later
    FAULT = "fault"  # it does not work as it is


@dataclass(frozen=True, slots=True)
class HostFinding:
    """One fact of the host, judged. costs, mend: "" where it is ok. mend: a command, or what to do without one."""

    subject: str
    level: FindingLevel
    found: str
    costs: str = ""
    mend: str = ""


def fine(subject: str, found: str) -> HostFinding:
    """Return a finding about which there is nothing to do."""
    return HostFinding(subject, FindingLevel.OK, found)


def note(subject: str, found: str, costs: str, mend: str) -> HostFinding:
    """Return a finding that is worth to know."""
    return HostFinding(subject, FindingLevel.NOTE, found, costs, mend)


def warning(subject: str, found: str, costs: str, mend: str) -> HostFinding:
    """Return a finding that costs strip or records sooner or later."""
    return HostFinding(subject, FindingLevel.WARNING, found, costs, mend)


def fault(subject: str, found: str, costs: str, mend: str) -> HostFinding:
    """Return a finding with which linewatch does not work."""
    return HostFinding(subject, FindingLevel.FAULT, found, costs, mend)
