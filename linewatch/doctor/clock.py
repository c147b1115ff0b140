"""The wall clock: whether something keeps it right."""

from collections.abc import Iterator

from linewatch.doctor.finding import HostFinding, fine, note, warning

_COSTS = "coils, alarms and labels are dated wrongly, and do not match those of Level 2"


def judge_clock(synchronised: bool | None) -> Iterator[HostFinding]:
    """Judge the clock. synchronised: as `linewatch.daemon.wall_clock.synchronised` tells it."""
    if synchronised is None:
        yield note("clock", "the kernel does not tell whether it is synchronised", _COSTS, "timedatectl status")
    elif not synchronised:
        yield warning(
            "clock",
            "not synchronised",
            _COSTS,
            "sudo timedatectl set-ntp true, or install chrony or linuxptp with the plant's time server",
        )
    else:
        yield fine("clock", "synchronised")
