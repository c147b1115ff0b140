"""Which fault comes when: a seeded order in which every kind comes once before any comes again."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

SERVICES: Final = ("cam1", "cam2", "recorded", "gige")
STORED: Final = ("strip", "recorded", "gige")
"""Whose messages the history stores."""
PROCESSES: Final = (*SERVICES, "strip", "history", "page", "mqtt", "modbus")
KINDS: Final[dict[str, tuple[str, ...]]] = {
    "kill": PROCESSES,
    "stop": PROCESSES,
    "camera-loss": ("recorded", "gige"),
    "packet-loss": ("gige",),
    "damaged-pictures": ("recorded",),
    "slow-disk": (*SERVICES, "strip"),
    "full-disk": (*SERVICES, "strip"),
    "memory-pressure": ("host",),
    "starved": ("host",),
    "clock-step": PROCESSES,
    "engine-exception": SERVICES,
    "bad-engine": SERVICES,
    "subscriber-stall": (*SERVICES, "strip"),
    "broker-restart": ("mqtt",),
    "database-locked": ("history",),
    "database-restart": ("history",),
    "hostile-connections": (*SERVICES, "strip"),
    "level2-junk": SERVICES,
}
"""The kinds of faults, each with what it can be done to."""


@dataclass(frozen=True, slots=True)
class ScheduledFault:
    """One fault of the schedule. number: from 1. quiet_s: so long nothing is done before it."""

    number: int
    kind: str
    target: str
    seconds: float
    quiet_s: float

    def __str__(self) -> str:
        return f"#{self.number} {self.kind} of {self.target} for {self.seconds:.1f} s"


def schedule(seed: int, quiet_s: float) -> Iterator[ScheduledFault]:
    """Yield faults for ever, the same for the same seed, however long each takes. quiet_s: the mean of their pauses."""
    dice = random.Random(seed)
    rounds = {kind: dice.sample(targets, len(targets)) for kind, targets in KINDS.items()}
    number = 0
    while True:
        for kind in dice.sample(list(KINDS), len(KINDS)):
            number += 1
            target = rounds[kind].pop()
            rounds[kind] = rounds[kind] or dice.sample(KINDS[kind], len(KINDS[kind]))
            yield ScheduledFault(number, kind, target, dice.uniform(1.0, 5.0), dice.uniform(0.5, 1.5) * quiet_s)
