r"""The map of the running service: one row per stage. Read it and you can draw the system.

    camera -> [capture] -> frames -> [cascade] <-> jobs/results <-> [engine] x N
                                        |
                                   predictions -> [decision] -> decided -> [outlet] -> journal, PUB, verdict file
                                                                               ^ snapshot
                                                                           [catchup] <-> ROUTER
    command socket <-> [commands] -> [exchange] -> a new line-up of engines for the cascade, between two frames
                                 \-> predictions: an operator's order, between two frames; answered behind the outlet
                                 \-> what is known of coils, which each frame is given on its way into the cascade
    Level 2's folder -> [coil-files] -^

A frame holds its ring slot from capture until its verdict, so the ring bounds everything between the two. Queue sizes
below are therefore reached only by the ring's own bound, but for `decided`.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import inf


class WhenFull(StrEnum):
    """What a stage does when the queue behind it is full (for capture: when no ring slot is free)."""

    MISS = "miss"  # count the lines as missed and go on: live capture never waits
    BLOCK = "block"  # wait: replay loses nothing; inside the service, pressure goes upstream to the ring
    NEVER = "never"  # cannot be full, the ring bounds it


@dataclass(frozen=True, slots=True)
class Stage:
    """One row: who takes from which queue, what becomes of the work, and when silence means failure."""

    name: str
    does: str  # the code that does the work
    takes: str  # queue that it reads
    gives: str  # queue that it fills
    live: WhenFull
    replay: WhenFull
    silence_limit_s: float  # without a tick for longer, the service is unhealthy and its heartbeat stops; inf: never
    nice: int = 0  # by how much its threads stand back for the other stages' where cores are short


CAPTURE = Stage("capture", "capture.admission", "camera", "frames", WhenFull.MISS, WhenFull.BLOCK, 10.0)
CASCADE = Stage("cascade", "inference.cascade", "frames", "predictions", WhenFull.NEVER, WhenFull.NEVER, 1.5)
ENGINE = Stage("engine", "inference.pool", "jobs", "results", WhenFull.NEVER, WhenFull.NEVER, 1.5, nice=5)
"""As many threads as cores, and always busy under load: a stage that holds the interpreter and waits for a core would
hold up all of them (docs/results.md).
"""
DECISION = Stage("decision", "decision.decide", "predictions", "decided", WhenFull.BLOCK, WhenFull.BLOCK, 1.5)
OUTLET = Stage("outlet", "daemon.stages.outlet", "decided", "wire", WhenFull.MISS, WhenFull.MISS, 1.5)
CATCHUP = Stage("catchup", "wire.server", "requests", "replies", WhenFull.MISS, WhenFull.MISS, 1.5)
COMMANDS = Stage("commands", "wire.commands", "commands", "orders", WhenFull.MISS, WhenFull.MISS, 1.5)
EXCHANGE = Stage("exchange", "daemon.stages.exchange", "orders", "line-ups", WhenFull.NEVER, WhenFull.NEVER, inf)
"""Loading an engine takes as long as building its plan, and the strip is looked at all the while."""

COIL_FILES = Stage("coil-files", "daemon.coils.folder", "folder", "orders", WhenFull.NEVER, WhenFull.NEVER, inf)
"""A folder on the mill's network may hang for as long as it likes."""

TOPOLOGY = (CAPTURE, CASCADE, ENGINE, DECISION, OUTLET, CATCHUP, COMMANDS, EXCHANGE, COIL_FILES)

DECIDED_QUEUE = 256
"""Verdicts that may wait for a slow disk before pressure reaches the ring."""

TICK_S = 0.1
"""How long an idle stage waits before it ticks again; well below every silence limit."""

DRAIN_LIMIT_S = 10.0
"""A stage that is silent for longer is hung, and after an end stages finish within this: else the exit is an error."""
