"""Loops of the stages without a queue: answer requests, or do slow work."""

from collections.abc import Callable
from typing import Any

from linewatch.daemon.stages.wiring import TICK_S, Wiring
from linewatch.wire.router import Router


def run_server(router: Router[Any], wiring: Wiring) -> None:
    """Bind the socket, answer requests until the end and close it, all on this thread, as ZeroMQ demands."""
    with router:
        wiring.opened.set()
        while not wiring.aborted:
            wiring.handled.done += router.poll(round(TICK_S * 1000))
            wiring.tick()


def run_aside(work: Callable[[float], None], wiring: Wiring) -> None:
    """Call `work`, which waits for something to do for at most that many seconds, until the end. It does not tick."""
    while not wiring.aborted:
        work(TICK_S)
