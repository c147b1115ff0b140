r"""The map of the running strip process: the runner makes these queues and starts these stages' threads.

    services' PUB, ROUTER -> [listen] x cameras -> heard -> [join] -> joined -> [outlet] -> journal, PUB
                                                                                   ^ snapshot
                                                                               [catchup] <-> ROUTER
    command socket <-> [commands] -> heard: an operator's order, between two decisions; answered behind the outlet
                                 \-> [forward] x cameras -> services' command sockets

A thread follows one camera, so that one that is silent, far behind or slow to answer holds up no other.
"""

from queue import Queue
from typing import Any, Final

from linewatch.daemon.stages.loops import run_aside, run_server
from linewatch.daemon.stages.outlet import Outlet
from linewatch.daemon.stages.wiring import QueueRow, StageRow
from linewatch.strip.coil_commands import CoilCommands
from linewatch.strip.join_stage import JoinStage
from linewatch.strip.listeners import Listeners

HEARD = QueueRow(Queue, size=4096)
"""For the join: what the cameras have decided, and operators' orders."""
JOINED = QueueRow(Queue, size=256)
"""Joined decisions may wait here for a slow disk."""

LISTEN = StageRow("listen", Listeners.run, gives=(HEARD,), silence_limit_s=5.0, per_worker=True)
"""A service that does not answer is waited for while its listener does not tick (`listeners.ANSWER_S`)."""
JOIN = StageRow("join", JoinStage.run, HEARD, (JOINED,))
OUTLET = StageRow("outlet", Outlet.run, JOINED, binds=True)
CATCHUP = StageRow("catchup", run_server, binds=True)
COIL_FILES = StageRow("coil-files", run_aside, silence_limit_s=float("inf"))
"""Level 2's folder may hang."""
COMMANDS = StageRow("commands", run_server, binds=True)
FORWARD = StageRow("forward", CoilCommands.run, silence_limit_s=float("inf"), per_worker=True)
"""A service may take seconds to answer, or never do so."""

TOPOLOGY: Final[tuple[StageRow[Any], ...]] = (LISTEN, JOIN, OUTLET, CATCHUP, COMMANDS, FORWARD, COIL_FILES)
