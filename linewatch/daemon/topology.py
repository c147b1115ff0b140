r"""The map of the running service: the runner makes these queues and starts these stages' threads.

    camera -> [capture] -> frames -> [cascade] <-> jobs/frames <-> [engine] x N
                                        |
                                   predictions -> [decision] -> decided -> [outlet] -> journal, PUB, verdict file
                                                                               ^ snapshot
                                                                           [catchup] <-> ROUTER
    command socket <-> [commands] -> [exchange] -> frames: another line-up of engines, between two frames
                                 \-> predictions: an operator's order, between two frames; answered behind the outlet
                                 \-> what is known of coils, which the cascade attaches to each frame
    Level 2's folder -> [coil-files] -^

A frame holds its slot of the frame ring from capture until its verdict, so the ring bounds everything between the two.
Without a free slot a live camera's lines are missed and counted, and a recording is not read (`Intake`).
"""

from itertools import count
from math import inf
from queue import PriorityQueue, Queue
from typing import Any

from linewatch import signals
from linewatch.capture import calibration_watch
from linewatch.contracts.tile import Batch
from linewatch.daemon import host_monitor
from linewatch.daemon.stages.capture import run_capture
from linewatch.daemon.stages.cascade import CascadeStage
from linewatch.daemon.stages.decision import DecisionStage
from linewatch.daemon.stages.engine import EngineStage
from linewatch.daemon.stages.loops import run_aside, run_server
from linewatch.daemon.stages.outlet import Outlet
from linewatch.daemon.stages.wiring import END, QueueRow, StageRow
from linewatch.journal import keeper


class OldestFirst(PriorityQueue[Any]):
    """Orders batches by their oldest frame, END last.

    Frames leave in order, so later work done first would only wait.
    """

    def __init__(self) -> None:
        super().__init__()
        self._number = count()

    def _put(self, item: Batch | None) -> None:
        oldest = inf if item is END else min(ref.ordinal for ref in item.refs)
        super()._put((oldest, next(self._number), item))

    def _get(self) -> Batch | None:
        return super()._get()[-1]


FRAMES = QueueRow()
"""For the cascade: frames, the engines' results, and what is to be done between two frames."""
JOBS = QueueRow(OldestFirst)
PREDICTIONS = QueueRow()
"""For the decision: predictions, and operators' orders."""
DECIDED = QueueRow(Queue, size=256)
"""Verdicts may wait here for a slow disk."""

CAPTURE = StageRow("capture", run_capture, gives=(FRAMES,), silence_limit_s=10.0, may_stand=True)
CASCADE = StageRow("cascade", CascadeStage.run, FRAMES, (JOBS, PREDICTIONS))
DECISION = StageRow("decision", DecisionStage.run, PREDICTIONS, (DECIDED,))
OUTLET = StageRow("outlet", Outlet.run, DECIDED, binds=True)
CATCHUP = StageRow("catchup", run_server, binds=True)
COMMANDS = StageRow("commands", run_server, binds=True)
ENGINE = StageRow("engine", EngineStage.run, JOBS, (FRAMES,), per_worker=True, nice=5)
"""As many threads as cores, and always busy under load: a stage that holds the interpreter and waits for a core would
hold up all of them (docs/results.md).
"""
EXCHANGE = StageRow("exchange", run_aside, silence_limit_s=inf)
"""Loading an engine takes as long as building its plan; the strip is inspected meanwhile."""
COIL_FILES = StageRow("coil-files", run_aside, silence_limit_s=inf)
"""A folder on the mill's network may hang for as long as it likes."""

TOPOLOGY: tuple[StageRow[Any], ...] = (  # in the order of the status message
    CAPTURE,
    CASCADE,
    DECISION,
    OUTLET,
    CATCHUP,
    COMMANDS,
    ENGINE,
    EXCHANGE,
    COIL_FILES,
)

HELPER_THREADS = (signals.THREAD, host_monitor.THREAD, calibration_watch.THREAD, *keeper.THREADS)
"""Threads beside the stages, which may hang without harm: they wait for signals, measure disks, look for a new
calibration, write and read the journal. While an engine is on trial, `inference.trial.THREAD` talks to its process.
"""
